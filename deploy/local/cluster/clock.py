"""Time as the simulation sees it: the event loop's in a server, a hand-driven one in unit tests."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol


class Timer(Protocol):
    """A call that has not happened yet."""

    def cancel(self) -> None:
        """Forget the call."""


class Clock(Protocol):
    """What controllers and kubelets need of time; everything they do happens in one thread."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> Timer:
        """Call once, `seconds` from now."""


class LoopClock:
    """The running event loop's timers: one heap for every kubelet and controller."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> Timer:
        """Call once, `seconds` from now."""
        return self._loop.call_soon(call, *args) if seconds <= 0 else self._loop.call_later(seconds, call, *args)


class _ManualTimer:
    __slots__ = ("args", "call")

    def __init__(self, call: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.call: Callable[..., object] | None = call
        self.args = args

    def cancel(self) -> None:
        self.call = None


class ManualClock:
    """Time that moves only when told to, so that a test of an hour's deadline takes no time."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._heap: list[tuple[float, int, _ManualTimer]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> Timer:
        """Call once, when `advance` passes that moment."""
        timer = _ManualTimer(call, args)
        heapq.heappush(self._heap, (self._now + max(seconds, 0.0), next(self._order), timer))
        return timer

    def advance(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass and run everything that falls due, in order."""
        until = self._now + seconds
        while self._heap and self._heap[0][0] <= until:
            due, _, timer = heapq.heappop(self._heap)
            self._now = max(self._now, due)
            if timer.call is not None:
                timer.call(*timer.args)
        self._now = until


def stamp(seconds: float) -> str:
    """The API's second-grained time, for example `2026-11-24T03:41:26Z`."""
    return _stamp(int(seconds))


@lru_cache(maxsize=1024)
def _stamp(seconds: int) -> str:
    # Every write of a busy second asks for the same few times.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(seconds: float) -> str:
    """The API's MicroTime, as in an Event's `eventTime`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float:
    """The moment an API time names, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
