"""What the demo has seen in the cluster, by its own clock, and what that proves."""

import itertools
import statistics
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ips_common.observe import BATCH_LABEL, NODE_ANNOTATION, TASK_LABEL

_PULL_ERRORS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_FINISHED = frozenset({"Succeeded", "Failed"})


class ImageState(Enum):
    """How far one image is on one node."""

    WAITING = auto()
    PULLING = auto()
    PULLED = auto()
    FAILED = auto()


@dataclass
class NodeCell:
    """One node of the task."""

    name: str
    batch: int
    images: dict[str, ImageState]
    job_at: float | None = None
    settled_at: float | None = None


@dataclass(frozen=True)
class BatchSpan:
    """When a batch began and ended, in seconds of the demo's clock; `last_settled` is none while it runs."""

    number: int
    nodes: int
    first_job: float
    last_settled: float | None


@dataclass
class Board:
    """The nodes of one task, filled by two watches and read by the screen."""

    images: tuple[str, ...]
    task_id: str | None = None
    cells: dict[str, NodeCell] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def see_job(self, job: Mapping[str, Any], at: float) -> None:
        """A Job was seen, `at` by the demo's clock."""
        with self._lock:
            cell = self._cell(job)
            if cell and cell.job_at is None:
                cell.job_at = at

    def see_pod(self, pod: Mapping[str, Any], at: float, *, deleted: bool = False) -> None:
        """A pod was seen in a new state, or for the last time."""
        with self._lock:
            cell = self._cell(pod)
            if cell is None or cell.settled_at is not None:
                return
            cell.images |= image_states(pod)
            if deleted or settled(pod):
                cell.settled_at = at

    def nodes(self) -> list[NodeCell]:
        """The nodes seen so far, by batch and name."""
        with self._lock:
            return sorted(self.cells.values(), key=lambda cell: (cell.batch, cell.name))

    def spans(self) -> list[BatchSpan]:
        """The batches seen so far, in order of their numbers."""
        cells: dict[int, list[NodeCell]] = {}
        for cell in self.nodes():
            if cell.job_at is not None:
                cells.setdefault(cell.batch, []).append(cell)
        return [_span(number, members) for number, members in sorted(cells.items())]

    def _cell(self, thing: Mapping[str, Any]) -> NodeCell | None:
        labels, annotations = thing["metadata"].get("labels", {}), thing["metadata"].get("annotations", {})
        node, batch = annotations.get(NODE_ANNOTATION), labels.get(BATCH_LABEL)
        if not node or not batch or self.task_id not in {None, labels.get(TASK_LABEL)}:
            return None
        waiting = dict.fromkeys(self.images, ImageState.WAITING)
        return self.cells.setdefault(node, NodeCell(node, int(batch), waiting))


def image_states(pod: Mapping[str, Any]) -> dict[str, ImageState]:
    """How far each image of a pod is, by what the kubelet says of its container."""
    states = {status["name"]: status.get("state", {}) for status in pod.get("status", {}).get("containerStatuses", [])}
    return {
        container["image"]: _image_state(states.get(container["name"], {})) for container in pod["spec"]["containers"]
    }


def settled(pod: Mapping[str, Any]) -> bool:
    """Whether nothing more will come of a pod: each image is there or was refused."""
    if pod.get("status", {}).get("phase") in _FINISHED:
        return True
    return all(state in {ImageState.PULLED, ImageState.FAILED} for state in image_states(pod).values())


def gaps(spans: Iterable[BatchSpan]) -> list[float]:
    """Seconds from the last settled node of each batch to the first Job of the next; negative where they overlap."""
    ordered = list(spans)
    return [
        after.first_job - (before.last_settled if before.last_settled is not None else float("inf"))
        for before, after in itertools.pairwise(ordered)
    ]


def median(values: list[float]) -> float:
    """The middle of `values`, 0 if there are none."""
    return statistics.median(values) if values else 0.0


def _image_state(state: Mapping[str, Any]) -> ImageState:
    if "running" in state or "terminated" in state:
        return ImageState.PULLED
    if "waiting" in state:
        return ImageState.FAILED if state["waiting"].get("reason") in _PULL_ERRORS else ImageState.PULLING
    return ImageState.WAITING


def _span(number: int, cells: list[NodeCell]) -> BatchSpan:
    ends = [cell.settled_at for cell in cells if cell.settled_at is not None]
    return BatchSpan(
        number,
        len(cells),
        min(cell.job_at for cell in cells if cell.job_at is not None),
        max(ends) if len(ends) == len(cells) else None,
    )
