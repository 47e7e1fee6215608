"""The forms an object can be asked for in: itself, only its metadata, or rows of a table."""

from collections.abc import Iterable
from typing import Any, Protocol

import orjson

from deploy.local.cluster.api import tables
from deploy.local.cluster.kinds import Kind
from deploy.local.cluster.store import Item


class Rendering(Protocol):
    """One form."""

    def object(self, kind: Kind, item: Item) -> bytes:
        """One object."""

    def listed(self, kind: Kind, items: Iterable[Item], meta: dict[str, Any]) -> bytes:
        """A list of objects."""

    def bookmark(self, kind: Kind, meta: dict[str, Any]) -> bytes:
        """The object of a bookmark event."""


class Plain:
    """Objects as they are."""

    def object(self, kind: Kind, item: Item) -> bytes:
        """The stored JSON with kind and apiVersion before it."""
        return b'{"kind":"%b","apiVersion":"%b",%b' % (kind.kind.encode(), kind.api_version.encode(), item.json()[1:])

    def listed(self, kind: Kind, items: Iterable[Item], meta: dict[str, Any]) -> bytes:
        """The stored JSON of each, joined."""
        head = b'{"kind":"%bList","apiVersion":"%b","metadata":' % (kind.kind.encode(), kind.api_version.encode())
        return b'%b%b,"items":[%b]}' % (head, orjson.dumps(meta), b",".join([item.json() for item in items]))

    def bookmark(self, kind: Kind, meta: dict[str, Any]) -> bytes:
        """An object with nothing but its version."""
        return orjson.dumps({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta})


def _partial(item: Item) -> dict[str, Any]:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item.obj["metadata"]}


class Partial:
    """`PartialObjectMetadata`."""

    def object(self, kind: Kind, item: Item) -> bytes:
        """The metadata of one."""
        del kind
        return orjson.dumps(_partial(item))

    def listed(self, kind: Kind, items: Iterable[Item], meta: dict[str, Any]) -> bytes:
        """The metadata of each."""
        del kind
        found = [{"metadata": item.obj["metadata"]} for item in items]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return orjson.dumps({**head, "metadata": meta, "items": found})

    def bookmark(self, kind: Kind, meta: dict[str, Any]) -> bytes:
        """Only the version."""
        del kind
        return orjson.dumps({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta})


class TableForm:
    """`Table`, as kubectl prints it."""

    def __init__(self, include: str, now: float) -> None:
        self._include = include
        self._now = now

    def object(self, kind: Kind, item: Item) -> bytes:
        """A table of one row."""
        return self.listed(kind, [item], {"resourceVersion": item.obj["metadata"].get("resourceVersion", "")})

    def listed(self, kind: Kind, items: Iterable[Item], meta: dict[str, Any]) -> bytes:
        """A row for each."""
        rows = [self._row(kind, item) for item in items]
        head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        return orjson.dumps({**head, "columnDefinitions": tables.columns(kind), "rows": rows})

    def bookmark(self, kind: Kind, meta: dict[str, Any]) -> bytes:
        """A table of no rows."""
        return self.listed(kind, [], meta)

    def _row(self, kind: Kind, item: Item) -> dict[str, Any]:
        row: dict[str, Any] = {"cells": tables.cells(kind, item.obj, self._now)}
        if self._include == "Object":
            row["object"] = {"kind": kind.kind, "apiVersion": kind.api_version, **item.obj}
        elif self._include != "None":
            row["object"] = _partial(item)
        return row


def choose(accept: str, include: str, now: float) -> Rendering | None:
    """The first form the client accepts; None where it takes no JSON at all."""
    if not accept:
        return Plain()
    for part in accept.split(","):
        media, *parameters = [piece.strip() for piece in part.split(";")]
        if media not in {"application/json", "application/*", "*/*"}:
            continue
        asked = dict(parameter.partition("=")[::2] for parameter in parameters)
        if asked.get("as") == "Table":
            return TableForm(include, now)
        if asked.get("as", "").startswith("PartialObjectMetadata"):
            return Partial()
        if "as" not in asked:
            return Plain()
    return None
