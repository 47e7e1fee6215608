"""Nodes as the snapshot sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Exclusion(StrEnum):
    """Why a node that matches the selector is left out."""

    NOT_READY = "NotReady"
    UNSCHEDULABLE = "Unschedulable"
    NOT_LINUX = "NotLinux"
    DISK_PRESSURE = "DiskPressure"


@dataclass(frozen=True, slots=True)
class Node:
    """What planning needs to know of a node; `images` holds canonical references, at most the 50 a kubelet reports."""

    name: str
    uid: str
    labels: Mapping[str, str]
    ready: bool = True
    schedulable: bool = True
    linux: bool = True
    disk_pressure: bool = False
    images: frozenset[str] = frozenset()

    @property
    def exclusion(self) -> Exclusion | None:
        """Why the node cannot take part, or None."""
        if not self.linux:
            return Exclusion.NOT_LINUX
        if not self.ready:
            return Exclusion.NOT_READY
        if not self.schedulable:
            return Exclusion.UNSCHEDULABLE
        if self.disk_pressure:
            return Exclusion.DISK_PRESSURE
        return None
