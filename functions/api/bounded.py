"""Clusters as requests may use them: no call takes long, and a cluster that does not answer takes up few threads.

What those that are not let in would have done the tracker does later: tasks wait, Jobs of cancelled ones are deleted.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event

from ips_common.cluster.door import Door
from ips_common.models.node import Node
from ips_common.ports.cluster import DELETE_SECONDS, READ_SECONDS, Cluster, Clusters, JobOutcome, Json, Refusals, Watch

PLAN_SECONDS = 8.0
"""Time for reading nodes while a caller waits."""
CANCEL_SECONDS = 20.0
"""Time for deleting Jobs while a caller waits."""


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
