"""A cluster in memory, for tests: a small honest model of what the API server, the Job controller and kubelets do.

It has no threads and no timers. With `auto` every Job runs at once to where it would end by itself; without, a test
says when: `finish`, `expire`, `remove_node`. Attributes set what goes wrong:

    cluster.broken["registry.example/missing:1"] = not_found("registry.example/missing:1")
    cluster.stuck.add("node-3")       # its kubelet does nothing
    cluster.away = True               # the API server cannot be reached
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from threading import Event, RLock

from ips_common.cluster.memory_daemonsets import DaemonSets
from ips_common.cluster.memory_watch import MemoryWatch
from ips_common.cluster.memory_workloads import denied, digest_of, not_found
from ips_common.errors import ClusterUnavailable, InvalidRequest
from ips_common.models.node import Node
from ips_common.observe import ATTEMPT_LABEL, BATCH_LABEL, NODE_ANNOTATION, TASK_LABEL, Key
from ips_common.ports.cluster import DELETE_SECONDS, READ_SECONDS, Creation, JobOutcome, Json, Refusals

__all__ = ["MemoryCluster", "MemoryClusters", "denied", "digest_of", "not_found"]


class MemoryCluster(DaemonSets):
    """One cluster in memory."""

    def nodes(
        self, selector: Mapping[str, str], images: Collection[str] | None = None, *, timeout: float = READ_SECONDS
    ) -> Sequence[Node]:
        """List the nodes that match every label, in order of their names."""
        del timeout
        with self._called("nodes"):
            found = [node for node in self._nodes.values() if selector.items() <= node.labels.items()]
            if images is not None:
                found = [replace(node, images=node.images & frozenset(images)) for node in found]
            return sorted(found, key=lambda node: node.name)

    def node(self, name: str) -> Node | None:
        """Read one node; None if it does not exist."""
        with self._called("node"):
            return self._nodes.get(name)

    def create_jobs(self, jobs: Sequence[Json], timeout: float) -> Sequence[JobOutcome]:
        """Create Jobs; one outcome each, in order."""
        del timeout
        with self._lock:
            return [self._create(job) for job in jobs]

    def delete_jobs(
        self,
        task_id: str,
        *,
        batch: int | None = None,
        attempt: int | None = None,
        unfinished_only: bool = False,
        timeout: float = DELETE_SECONDS,
    ) -> None:
        """Delete a task's Jobs with their pods, or only those of one batch or attempt, or that did not succeed."""
        del timeout
        with self._called("delete_jobs"):
            for work in list(self._work.values()):
                key = work.job.key
                if (
                    key.task_id == task_id
                    and batch in {None, key.batch}
                    and attempt in {None, key.attempt}
                    and not (unfinished_only and work.job.finished == "Complete")
                ):
                    self._delete(work)

    def delete_named_jobs(self, names: Sequence[str]) -> None:
        """Delete Jobs by name with their pods; one that does not exist is fine."""
        with self._called("delete_named_jobs"):
            for name in names:
                if work := self._work.get(name):
                    self._delete(work)

    def create_daemonset(self, daemonset: Json, timeout: float) -> JobOutcome:
        """Create a DaemonSet."""
        del timeout
        with self._lock:
            self.calls["create_daemonset"] += 1
            name = daemonset["metadata"]["name"]
            if self._away:
                return JobOutcome(name, Creation.FAILED, f"cluster {self.name} cannot be reached")
            if self.refusal:
                return JobOutcome(name, Creation.REFUSED, str(self.refusal), self.refusal.status, self.refusal.reason)
            if name in self.daemonsets:
                return JobOutcome(name, Creation.EXISTS)
            self._admit_set(daemonset)
            return JobOutcome(name, Creation.CREATED)

    def delete_daemonsets(self, task_id: str, *, attempt: int | None = None, timeout: float = DELETE_SECONDS) -> None:
        """Delete a task's DaemonSets with their pods, or only that of one attempt."""
        del timeout
        with self._called("delete_daemonsets"):
            for name, each in list(self._sets.items()):
                if each.key.task_id == task_id and attempt in {None, each.key.attempt}:
                    self._delete_set(name)

    def has_daemonsets(self, task_id: str) -> bool:
        """Whether any DaemonSet of the task exists."""
        with self._called("has_daemonsets"):
            return any(each.key.task_id == task_id for each in self._sets.values())

    def has_jobs(self, task_id: str) -> bool:
        """Whether any Job of the task exists."""
        with self._called("has_jobs"):
            return any(work.job.key.task_id == task_id for work in self._work.values())

    def refusals(self) -> Refusals:
        """Return which Jobs got no pod because admission refused it."""
        with self._called("refusals"):
            return Refusals(dict(self._refused_pods)) if self.events_readable else Refusals(readable=False)

    def supports_image_volumes(self) -> bool:
        """Whether pods may have image volumes."""
        with self._called("supports_image_volumes"):
            return self.image_volumes

    def watch(self, stop: Event, *, seconds: float) -> MemoryWatch:
        """Observe all Jobs and their pods."""
        with self._lock:
            self.calls["watch"] += 1
            watch = MemoryWatch(self, stop, seconds)
            self._watches = [*(other for other in self._watches if not other.over), watch]
            if self._away:
                watch.lose("connection refused")
            else:
                watch.begin(self._existing())
            return watch

    def ready(self, timeout: float) -> None:
        """Return when the API server answers, raise otherwise."""
        del timeout
        with self._called("ready"):
            pass

    def _called(self, method: str) -> RLock:
        """Count a call and fail as the cluster does; the lock guards what follows."""
        with self._lock:
            self.calls[method] += 1
            if self._away:
                raise ClusterUnavailable(f"cluster {self.name} cannot be reached")
            if self.refusal:
                raise self.refusal
        return self._lock

    def _create(self, manifest: Json) -> JobOutcome:
        self.calls["create_jobs"] += 1
        metadata = manifest["metadata"]
        name = metadata["name"]
        if self._away:
            return JobOutcome(name, Creation.FAILED, f"cluster {self.name} cannot be reached")
        if self.refusal:
            return JobOutcome(name, Creation.REFUSED, str(self.refusal), self.refusal.status, self.refusal.reason)
        if name in self._work:
            return JobOutcome(name, Creation.EXISTS)
        if self.quota is not None and len(self._work) >= self.quota:
            message = f'jobs.batch "{name}" is forbidden: exceeded quota: q, limited: count/jobs.batch={self.quota}'
            return JobOutcome(name, Creation.REFUSED, message, 403, "Forbidden")
        labels = metadata["labels"]
        key = Key(
            labels[TASK_LABEL],
            int(labels[ATTEMPT_LABEL]),
            int(labels[BATCH_LABEL]),
            metadata["annotations"][NODE_ANNOTATION],
        )
        self._admit(key, manifest)
        return JobOutcome(name, Creation.CREATED)


class MemoryClusters:
    """Clusters in memory, by name."""

    def __init__(self, *clusters: MemoryCluster) -> None:
        self._clusters = {cluster.name: cluster for cluster in clusters}

    def names(self) -> Sequence[str]:
        """Return all names, in the order they were given."""
        return list(self._clusters)

    def get(self, name: str) -> MemoryCluster:
        """Return a cluster.

        Raises:
            InvalidRequest: no cluster has this name.
        """
        try:
            return self._clusters[name]
        except KeyError:
            raise InvalidRequest(f"no cluster is called {name}") from None
