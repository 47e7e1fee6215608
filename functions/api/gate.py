"""The gate: whether enough nodes hold every image, and waiting for that without a database loop per caller."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from ips_common.errors import TemporaryError
from ips_common.models.task import Task
from ips_common.models.view import View
from ips_common.ports.store import Store

_ROUNDING = 1e-9


class GateState(StrEnum):
    """Whether a release may go."""

    OPEN = "open"
    WAITING = "waiting"
    SHUT = "shut"


class GateView(View):
    """Whether enough nodes hold every image."""

    task_id: str
    """The task's id."""
    state: GateState
    """`open`: enough nodes hold every image; `waiting`: they still may; `shut`: they no longer can."""
    share: float
    """Share of nodes that hold every image."""
    min: float
    """Share of nodes that must hold every image."""
    completed_nodes: int
    """Nodes that hold every image."""
    failed_nodes: int
    """Nodes that are settled and lack at least one image."""
    total_nodes: int
    """Nodes the task is about; 0 until it is planned."""
    status: str
    """The task's status."""


def decide(task: Task, minimum: float) -> GateState:
    """Say whether at least `minimum` (0 to 1) of a task's nodes hold every image, still may, or no longer can."""
    needed = minimum * task.total_nodes - _ROUNDING
    if task.total_nodes and task.completed_nodes >= needed:
        return GateState.OPEN
    if task.status.final:
        return GateState.SHUT
    # While retries are left, only nodes that no retry can help are lost.
    lost = task.lasting_failures if task.attempt < task.spec.max_retries else task.failed_nodes
    return GateState.WAITING if task.total_nodes - lost >= needed else GateState.SHUT


def view(task: Task, minimum: float) -> GateView:
    """Show the gate of a task."""
    share = task.completed_nodes / task.total_nodes if task.total_nodes else 0.0
    return GateView(
        task_id=task.task_id,
        state=decide(task, minimum),
        share=round(share, 4),
        min=minimum,
        completed_nodes=task.completed_nodes,
        failed_nodes=task.failed_nodes,
        total_nodes=task.total_nodes,
        status=task.status.value,
    )


@dataclass(slots=True)
class _Watched:
    """A task that callers wait for. One of them reads it when it is time to; all see what was read."""

    task: Task
    read_at: float
    waiters: int = 0
    reading: bool = False
    error: Exception | None = None
    fresh: threading.Condition = field(default_factory=threading.Condition)


class GatePoller:
    """Looks at each awaited task once per interval, however many callers wait for it.

    There is no thread of its own: whichever waiter finds that it is time reads for all, so nothing runs between
    requests, when the instance may have no processor.
    """

    def __init__(
        self,
        store: Store,
        *,
        interval: float,
        max_wait: float,
        max_waiters: int = 32,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._interval = interval
        self._max_wait = max_wait
        self._max_waiters = max_waiters
        self._draining = draining
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}

    def wait(self, task_id: str, minimum: float, seconds: float) -> GateView:
        """Return the gate once it is open or shut, or after `seconds`; at once if too many wait already.

        Raises:
            TaskNotFound: there is no such task.
            StoreUnavailable: it could not be read, for as long as there was time.
        """
        task = self._store.task(task_id).task
        if seconds > 0 and decide(task, minimum) is GateState.WAITING:
            with self._watching(task) as watched:
                if watched:
                    task = self._follow(watched, minimum, min(seconds, self._max_wait))
        return view(task, minimum)

    def _follow(self, watched: _Watched, minimum: float, seconds: float) -> Task:
        deadline = monotonic() + seconds
        while True:
            with watched.fresh:
                due = watched.read_at + self._interval
                now = monotonic()
                mine = not watched.reading and now >= due
                if mine:
                    watched.reading = True
                else:
                    pause = self._interval if watched.reading else due - now
                    watched.fresh.wait(min(pause, max(0.0, deadline - now)))
            if mine:
                self._read(watched)
            with watched.fresh:
                task, error = watched.task, watched.error
            # A process that is to end has seconds left: whoever waits asks another one.
            late = monotonic() >= deadline or self._draining()
            if error is not None and (late or not isinstance(error, TemporaryError)):
                raise error
            if error is None and (late or decide(task, minimum) is not GateState.WAITING):
                return task

    def _read(self, watched: _Watched) -> None:
        task = watched.task
        error: Exception | None = None
        try:
            task = self._store.task(task.task_id).task
        except Exception as caught:  # noqa: BLE001 - handed to every waiter
            error = caught
        with watched.fresh:
            watched.reading = False
            watched.read_at = monotonic()
            watched.task, watched.error = task, error
            watched.fresh.notify_all()

    @contextmanager
    def _watching(self, task: Task) -> Iterator[_Watched | None]:
        watched: _Watched | None = None
        with self._lock:
            if sum(others.waiters for others in self._watched.values()) < self._max_waiters:
                watched = self._watched.setdefault(task.task_id, _Watched(task, monotonic()))
                watched.waiters += 1
        try:
            yield watched
        finally:
            if watched:
                with self._lock:
                    watched.waiters -= 1
                    if not watched.waiters:
                        del self._watched[task.task_id]
