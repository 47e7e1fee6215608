"""The watch of a cluster in memory."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from threading import Condition, Event
from types import TracebackType
from typing import Protocol, Self

from ips_common.observe import Gone, JobSeen, Key, Observation, PodSeen
from ips_common.ports.cluster import Lost, Synced, WatchEvent

_SLICE = 0.02
"""How long to wait before looking at `stop` again, in seconds."""


class Watched(Protocol):
    """What a watch needs of its cluster."""

    clock: Callable[[], datetime]
    on_idle: Callable[[float], None] | None
    changed: Condition


class MemoryWatch:
    """A watch that its cluster tells what happens; it remembers what exists, to report what vanished in an outage."""

    def __init__(self, cluster: Watched, stop: Event, seconds: float) -> None:
        self._cluster = cluster
        self._stop = stop
        self._end = cluster.clock() + timedelta(seconds=seconds)
        self._pending: list[WatchEvent] = []
        self._known: dict[tuple[str, str], Key] = {}
        self._woken = False
        self._closed = False

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._closed or self._stop.is_set() or self._cluster.clock() >= self._end

    def begin(self, existing: Iterable[JobSeen | PodSeen]) -> None:
        """Say everything that exists, what does not any more, and `Synced`."""
        before, self._known = self._known, {}
        for seen in existing:
            self.tell(seen)
        for (kind, name), key in before.items():
            if (kind, name) not in self._known:
                self._add(Gone(kind, key, name))
        self._add(Synced())

    def lose(self, message: str) -> None:
        """Say that nothing is heard any more."""
        self._add(Lost(message))

    def tell(self, seen: Observation) -> None:
        """Say what happened."""
        match seen:
            case Gone():
                self._known.pop((seen.kind, seen.name), None)
            case JobSeen():
                self._known["Job", seen.name] = seen.key
            case PodSeen():
                self._known["Pod", seen.name] = seen.key
        self._add(seen)

    def get(self, timeout: float) -> Sequence[WatchEvent]:
        """Return all that came since the last call, waiting up to `timeout` seconds for the first of it."""
        if self._idle() and self._cluster.on_idle:
            self._cluster.on_idle(timeout)
        elif self._idle():
            self._wait(timeout)
        with self._cluster.changed:
            events, self._pending, self._woken = self._pending, [], False
            return events

    def wake(self) -> None:
        """Make `get` return now, or the next one at once if none waits."""
        with self._cluster.changed:
            self._woken = True
            self._cluster.changed.notify_all()

    def close(self) -> None:
        """End the watch; what was not fetched is dropped."""
        with self._cluster.changed:
            self._closed = True
            self._pending.clear()
            self._cluster.changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _idle(self) -> bool:
        return not (self._pending or self._woken or self.over)

    def _wait(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        with self._cluster.changed:
            while self._idle() and (left := until - time.monotonic()) > 0:
                self._cluster.changed.wait(min(left, _SLICE))

    def _add(self, event: WatchEvent) -> None:
        if not self.over:
            with self._cluster.changed:
                self._pending.append(event)
                self._cluster.changed.notify_all()
