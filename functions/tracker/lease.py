"""Being the one tracker of a cluster.

A lease holds no times, so skewed clocks cannot make two holders: whoever wants it watches its version stand still for
the lease's duration on his own clock, as Kubernetes' leader election does.
https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
"""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread

from ips_common.errors import StaleVersion, TemporaryError
from ips_common.ports.store import Lease, Store

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Holds one cluster's lease and renews it in a thread of its own; calls `on_lost` when it is gone."""

    def __init__(
        self, store: Store, cluster: str, holder: str, seconds: float, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self.unreachable = False
        """Whether the lease is lost because it could not be renewed, not because another tracker has it."""
        self._lost = Event()
        self._on_lost = on_lost
        self._store = store
        self._cluster = cluster
        self._holder = holder
        self._seconds = seconds
        self._lease: Lease | None = None
        self._stop = Event()
        self._thread: Thread | None = None

    def acquire(self, give_up: Callable[[], bool]) -> bool:
        """Take the lease as soon as its holder is seen to be gone; False if the holder is alive.

        Args:
            give_up: asked between looks; true ends the attempt.
        """
        seen = self._store.lease(self._cluster)
        since = time.monotonic()
        while not give_up():
            if seen is None or not seen.holder or time.monotonic() - since >= self._seconds:
                try:
                    self._lease = self._store.acquire_lease(self._cluster, self._holder, seen)
                except StaleVersion:
                    return False
                self._thread = Thread(target=self._renew, name=f"lease-{self._cluster}", daemon=True)
                self._thread.start()
                return True
            self._stop.wait(min(1.0, self._seconds / 5))
            now = self._store.lease(self._cluster)
            if now and now.holder and now.version != seen.version:
                return False
            seen = now
        return False

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(self._seconds / 3):
            try:
                self._lease = self._store.acquire_lease(self._cluster, self._holder, self._lease)
                renewed = time.monotonic()
            except StaleVersion:
                break
            except TemporaryError as error:
                if time.monotonic() - renewed >= self._seconds:
                    self.unreachable = True
                    break
                logger.warning("lease not renewed yet", extra={"cluster": self._cluster, "error": str(error)})
        else:
            return
        logger.warning("lease lost", extra={"cluster": self._cluster})
        self._lost.set()
        self._on_lost()

    def release(self) -> None:
        """Give the lease back, so that the next tracker need not wait for it to expire."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        if self._lease is None or self._lost.is_set():
            return
        try:
            self._store.acquire_lease(self._cluster, "", self._lease)
        except (StaleVersion, TemporaryError) as error:
            logger.info("lease left to expire", extra={"cluster": self._cluster, "error": str(error)})
