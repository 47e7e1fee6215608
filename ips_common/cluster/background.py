"""One event loop per process, in a thread of its own, for everything that talks to API servers.

Functions are called in threads; the cluster wants hundreds of requests at a time. The thread starts with the first
call, so nothing of it exists when a server forks its workers.
"""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_SECONDS = 2.0


class Background:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="cluster", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; it has to end by a timeout of its own."""
        future = self.start(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def at_exit(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Have `closer` awaited on the loop before the process ends."""
        self._closers.append(closer)

    def _stop(self) -> None:
        """End what runs and close connections properly, or every exit would log them as leaked."""
        finishing = self.start(self._finish())
        with suppress(TimeoutError):
            finishing.result(_STOP_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()

    async def _finish(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.gather(*(closer() for closer in self._closers), return_exceptions=True)


_lock = threading.Lock()
_background: Background | None = None


def background() -> Background:
    """Return the process's event loop, started if it is not."""
    global _background  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _background is None:
            _background = Background()
        return _background
