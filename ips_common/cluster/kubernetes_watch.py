"""The watch of a real cluster: a watcher on the background loop, and a queue to whoever wants to know."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from threading import Condition, Event
from types import TracebackType
from typing import Any, Self

from ips_common.cluster.background import Background
from ips_common.ports.cluster import WatchEvent

_SLICE = 0.1
"""How long to wait before looking at `stop` again, in seconds."""

Tell = Callable[[Sequence[WatchEvent]], None]


class KubernetesWatch:
    """A running watch."""

    def __init__(
        self,
        background: Background,
        run: Callable[[Tell], Coroutine[Any, Any, None]],
        stop: Event,
        seconds: float,
    ) -> None:
        """Start watching.

        Args:
            background: the loop to watch on.
            run: watches and tells until it is cancelled.
            stop: set to end the watch.
            seconds: after which the watch is over.
        """
        self._changed = Condition()
        self._pending: list[WatchEvent] = []
        self._woken = False
        self._over = False
        self._stop = stop
        self._running: Future[None] = background.start(self._run(run, seconds))
        self._running.add_done_callback(self._ended)

    def get(self, timeout: float) -> Sequence[WatchEvent]:
        """Return all that came since the last call, waiting up to `timeout` seconds for the first of it."""
        until = time.monotonic() + timeout
        with self._changed:
            while not (self._pending or self._woken or self._over):
                if self._stop.is_set():
                    self._over = True
                    self._running.cancel()
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, _SLICE))
            events, self._pending, self._woken = self._pending, [], False
        if self._over and not events and self._running.done() and not self._running.cancelled():
            self._running.result()  # raises if watching failed for a reason nobody thought of
        return events

    def wake(self) -> None:
        """Make `get` return now, or the next one at once if none waits."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the watch; what was not fetched is dropped."""
        self._running.cancel()
        with self._changed:
            self._over = True
            self._pending = []
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _run(self, run: Callable[[Tell], Coroutine[Any, Any, None]], seconds: float) -> None:
        over = asyncio.timeout(seconds)
        try:
            async with over:
                await run(self._add)
        except TimeoutError:
            if not over.expired():
                raise

    def _add(self, events: Sequence[WatchEvent]) -> None:
        if events:
            with self._changed:
                if not self._over:
                    self._pending.extend(events)
                    self._changed.notify_all()

    def _ended(self, _: Future[None]) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()
