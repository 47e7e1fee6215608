"""A work queue as controllers use it: a key waits at most once, and several changes make one look."""

import time
from collections.abc import Callable

from deploy.local.cluster.clock import Clock, Timer
from deploy.local.cluster.store import Key

# Long enough to get through a burst, short enough that a request never waits for it noticeably.
_SLICE_SECONDS = 0.005


class WorkQueue:
    """Keys to look at, now or later."""

    def __init__(self, clock: Clock, look: Callable[[Key], None]) -> None:
        self._clock = clock
        self._look = look
        self._ready: dict[Key, None] = {}
        self._later: dict[Key, tuple[float, Timer]] = {}
        self._scheduled = False
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Look at the key as soon as the present change is done with."""
        self._ready[key] = None
        if not self._scheduled:
            self._scheduled = True
            self._clock.after(0, self._drain)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at the key in `seconds`, unless it is due earlier anyway."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.now() + seconds
        waiting = self._later.get(key)
        if waiting is not None:
            if waiting[0] <= due:
                return
            waiting[1].cancel()
        self._later[key] = (due, self._clock.after(seconds, self._fire, key))

    def retry(self, key: Key, first: float, most: float) -> None:
        """Look again after a failure, each time twice as late."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(first * 2**failures, most))

    def forget(self, key: Key) -> None:
        """The key did well: its next failure is its first again."""
        self._failures.pop(key, None)

    def _fire(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)

    def _drain(self) -> None:
        self._scheduled = False
        until = time.perf_counter() + _SLICE_SECONDS
        while self._ready:
            key = next(iter(self._ready))
            del self._ready[key]
            self._look(key)
            if self._ready and time.perf_counter() > until:
                self._scheduled = True
                self._clock.after(0, self._drain)
                return
