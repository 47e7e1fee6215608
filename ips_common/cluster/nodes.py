"""Nodes of the API, reduced to what planning needs."""

from collections.abc import Collection, Iterable, Mapping
from sys import intern
from typing import Any

from ips_common.models.image import parse_image
from ips_common.models.node import Node

_OS_LABEL = "kubernetes.io/os"


class NodeReader:
    """Reads nodes one after another, sharing what they have in common: a pool's nodes hold the same images."""

    def __init__(self, images: Collection[str] | None = None) -> None:
        """Make a reader.

        Args:
            images: canonical references to look for; None keeps all.
        """
        self._wanted = None if images is None else frozenset(images)
        self._canonical: dict[str, str | None] = {}
        self._sets: dict[frozenset[str], frozenset[str]] = {}

    def read(self, obj: Mapping[str, Any]) -> Node:
        """Reduce one node."""
        metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        labels = metadata.get("labels") or {}
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        system = labels.get(_OS_LABEL) or (status.get("nodeInfo") or {}).get("operatingSystem") or "linux"
        return Node(
            name=metadata["name"],
            uid=metadata["uid"],
            labels={intern(key): intern(value) for key, value in labels.items()},
            ready=conditions.get("Ready") == "True",
            schedulable=not spec.get("unschedulable"),
            linux=system == "linux",
            disk_pressure=conditions.get("DiskPressure") == "True",
            images=self._images(status.get("images") or ()),
        )

    def _images(self, images: Iterable[Mapping[str, Any]]) -> frozenset[str]:
        found = frozenset(
            canonical for image in images for name in image.get("names") or () if (canonical := self._known(name))
        )
        return self._sets.setdefault(found, found)

    def _known(self, name: str) -> str | None:
        """Return the canonical form of a name, None if it is not wanted or not valid: runtimes report `<none>@...`."""
        if name not in self._canonical:
            try:
                canonical = parse_image(name).canonical
            except ValueError:
                canonical = ""
            wanted = canonical and (self._wanted is None or canonical in self._wanted)
            self._canonical[name] = canonical if wanted else None
        return self._canonical[name]
