"""Clusters as requests may use them: no call takes long, and a cluster that does not answer takes up few threads.

An instance has few threads, and they serve all clusters. So only some may be in one cluster at a time; once it has not
answered, one asks it now and then whether it does again, and the others are told at once. What they would have done the
tracker does later: tasks wait, Jobs of cancelled ones are deleted.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event

from ips_common.errors import ClusterRefused, ClusterUnavailable
from ips_common.models.node import Node
from ips_common.ports.cluster import DELETE_SECONDS, READ_SECONDS, Cluster, Clusters, JobOutcome, Json, Refusals, Watch

PLAN_SECONDS = 8.0
"""Time for reading nodes while a caller waits."""
CANCEL_SECONDS = 20.0
"""Time for deleting Jobs while a caller waits."""

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


class BoundedClusters:
    """The configured clusters, each behind a door."""

    def __init__(self, clusters: Clusters, *, door: Callable[[str], Door] = Door) -> None:
        self._clusters = clusters
        self._doors = {name: door(name) for name in clusters.names()}

    def names(self) -> Sequence[str]:
        """See `Clusters.names`."""
        return self._clusters.names()

    def get(self, name: str) -> Cluster:
        """See `Clusters.get`."""
        return BoundedCluster(self._clusters.get(name), self._doors[name])


class BoundedCluster(Cluster):
    """One cluster; whatever asks for more time than a request has gets no more."""

    def __init__(self, cluster: Cluster, door: Door) -> None:
        self.name = cluster.name
        self._cluster = cluster
        self._door = door

    def nodes(
        self, selector: Mapping[str, str], images: Collection[str] | None = None, *, timeout: float = READ_SECONDS
    ) -> Sequence[Node]:
        """See `Cluster.nodes`."""
        with self._door.enter():
            return self._cluster.nodes(selector, images, timeout=min(timeout, PLAN_SECONDS))

    def node(self, name: str) -> Node | None:
        """See `Cluster.node`."""
        with self._door.enter():
            return self._cluster.node(name)

    def create_jobs(self, jobs: Sequence[Json], timeout: float) -> Sequence[JobOutcome]:
        """See `Cluster.create_jobs`."""
        return self._cluster.create_jobs(jobs, timeout)

    def delete_jobs(
        self,
        task_id: str,
        *,
        batch: int | None = None,
        attempt: int | None = None,
        unfinished_only: bool = False,
        timeout: float = DELETE_SECONDS,
    ) -> None:
        """See `Cluster.delete_jobs`."""
        with self._door.enter():
            self._cluster.delete_jobs(
                task_id,
                batch=batch,
                attempt=attempt,
                unfinished_only=unfinished_only,
                timeout=min(timeout, CANCEL_SECONDS),
            )

    def delete_named_jobs(self, names: Sequence[str]) -> None:
        """See `Cluster.delete_named_jobs`."""
        with self._door.enter():
            self._cluster.delete_named_jobs(names)

    def create_daemonset(self, daemonset: Json, timeout: float) -> JobOutcome:
        """See `Cluster.create_daemonset`."""
        return self._cluster.create_daemonset(daemonset, timeout)

    def delete_daemonsets(self, task_id: str, *, attempt: int | None = None, timeout: float = DELETE_SECONDS) -> None:
        """See `Cluster.delete_daemonsets`."""
        with self._door.enter():
            self._cluster.delete_daemonsets(task_id, attempt=attempt, timeout=min(timeout, CANCEL_SECONDS))

    def has_daemonsets(self, task_id: str) -> bool:
        """See `Cluster.has_daemonsets`."""
        with self._door.enter():
            return self._cluster.has_daemonsets(task_id)

    def has_jobs(self, task_id: str) -> bool:
        """See `Cluster.has_jobs`."""
        with self._door.enter():
            return self._cluster.has_jobs(task_id)

    def refusals(self) -> Refusals:
        """See `Cluster.refusals`."""
        with self._door.enter():
            return self._cluster.refusals()

    def supports_image_volumes(self) -> bool:
        """See `Cluster.supports_image_volumes`."""
        with self._door.enter():
            return self._cluster.supports_image_volumes()

    def watch(self, stop: Event, *, seconds: float) -> Watch:
        """See `Cluster.watch`."""
        return self._cluster.watch(stop, seconds=seconds)

    def ready(self, timeout: float) -> None:
        """See `Cluster.ready`; whoever asks that has a thread of its own."""
        self._cluster.ready(timeout)
