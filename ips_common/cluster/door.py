"""What keeps a cluster that does not answer from taking up a process's threads, which serve all clusters.

Only some may be in one cluster at a time; once it has not answered, one asks it now and then whether it does again, and
the others are told at once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ips_common.errors import ClusterRefused, ClusterUnavailable

_AT_ONCE = 4
_PATIENCE = 2.0  # seconds to wait for one of them to be done
_PAUSE = 5.0  # seconds in which a cluster that has not answered is not asked again


class Door:
    """Lets few into one cluster at a time, and while it does not answer only one now and then."""

    def __init__(
        self,
        name: str,
        *,
        patience: float = _PATIENCE,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._patience = patience
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._failed_at: float | None = None
        self._trying = False

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a place while inside.

        Raises:
            ClusterUnavailable: the cluster has not answered a moment ago, or all places are taken.
        """
        trying = self._admit()
        try:
            if not self._places.acquire(timeout=self._patience):
                raise ClusterUnavailable(f"cluster {self._name} is slow and asked by too many at once")
            try:
                yield
            except ClusterUnavailable:
                self._failed_at = self._clock()
                raise
            except ClusterRefused:
                self._failed_at = None
                raise
            else:
                self._failed_at = None
            finally:
                self._places.release()
        finally:
            if trying:
                self._trying = False

    def _admit(self) -> bool:
        """Return whether this is the one that finds out whether the cluster answers again."""
        with self._lock:
            if self._failed_at is None:
                return False
            left = self._failed_at + self._pause - self._clock()
            if left > 0 or self._trying:
                raise ClusterUnavailable(
                    f"cluster {self._name} has not answered a moment ago", retry_after=max(left, 1.0)
                )
            self._trying = True
            return True
