"""The cluster in memory with what time does to Jobs, more ways to fail, and a memory of what was really pulled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ips_common.cluster.memory import MemoryCluster
from ips_common.cluster.memory_workloads import _Work, images_of
from ips_common.models.node import Node
from ips_common.observe import NODE_ANNOTATION, Gone, JobSeen, Key, PodSeen
from ips_common.ports.cluster import Creation, JobOutcome, Json


class TimedCluster(MemoryCluster):
    """A cluster whose Jobs end at their deadline and vanish at their TTL; kubelets work when told to."""

    def __init__(self, nodes: int, clock: Callable[[], datetime]) -> None:
        super().__init__("default", nodes, auto=False, clock=clock)
        self.spared: Callable[[str], bool] = lambda _: False
        """Tasks, by id, for whose Jobs nothing happens by itself any more: whoever made them has to remove them."""
        self.late: set[Key] = set()
        """What a Job was made for although its task was completed: nobody has to remove it, it ends by itself."""
        self.tried: set[Key] = set()
        """What there ever was a Job for, or a DaemonSet."""
        self.pulled: set[tuple[str, int, str, str]] = set()
        """(task, attempt, node, image) that a kubelet really pulled."""
        self.failed: set[Key] = set()
        """Whose Jobs were evicted or ran into their deadline."""
        self.forbids = ""
        """What the API server answers to the creation of Jobs, if it forbids that."""
        self.cursed: set[str] = set()
        """Nodes for which every creation of a Job ends in an error that says nothing."""
        self.doomed: set[tuple[int, str]] = set()
        """(attempt, node) of pods that are evicted instead of pulling anything."""
        self._finished_at: dict[str, datetime] = {}
        self._status_late = False
        self._late: dict[str, tuple[str, str, str]] = {}

    def live_jobs(self) -> list[JobSeen]:
        """Return the Jobs that are not finished."""
        return [work.job for work in self._work.values() if not work.job.finished]

    def names_of(self, task_id: str) -> list[str]:
        """Return the names of a task's Jobs and DaemonSets."""
        return [
            *(name for name, work in self._work.items() if work.job.key.task_id == task_id),
            *(name for name, each in self._sets.items() if each.key.task_id == task_id),
        ]

    def sets_of(self, task_id: str) -> list[str]:
        """Return the names of a task's DaemonSets."""
        return [name for name, each in self._sets.items() if each.key.task_id == task_id]

    @property
    def status_late(self) -> bool:
        """Whether the Job controller is behind: pods have ended, their Jobs do not say so yet."""
        return self._status_late

    @status_late.setter
    def status_late(self, late: bool) -> None:
        with self._lock:
            self._status_late = late
            if late:
                return
            for name, (finished, reason, message) in self._late.items():
                if (work := self._work.get(name)) and not work.job.finished:
                    self._set_job(work, finished=finished, reason=reason, message=message)
            self._late.clear()

    def work(self, node: str | None = None) -> None:
        """Let kubelets work, or one of them."""
        with self._lock:
            for work in self._lively():
                if not work.pod or self._is_over(work) or node not in {None, work.job.key.node}:
                    continue
                if (work.job.key.attempt, work.job.key.node) in self.doomed:
                    self._evict(work)
                else:
                    self._pull(work)
                    self._note(work.pod, work.images)
            for each in self._sets.values():
                for name in [name for name in each.pods if node in {None, name}]:
                    self._pull_daemon(each, name)
                    self._note(each.pods[name], images_of(each.manifest))

    def pass_time(self) -> None:
        """Let deadlines and TTLs that are due take effect."""
        now = self.clock()
        with self._lock:
            for work in self._lively():
                job, spec = work.job, work.manifest["spec"]
                if job.name in self._late:
                    continue
                if not job.finished:
                    if job.created + timedelta(seconds=spec["activeDeadlineSeconds"]) <= now:
                        self._expire(work)
                    continue
                ended = self._finished_at.setdefault(job.name, now)
                if ended + timedelta(seconds=spec["ttlSecondsAfterFinished"]) <= now:
                    self._delete(work)
            self._finished_at = {name: at for name, at in self._finished_at.items() if name in self._work}

    def next_change(self) -> datetime | None:
        """Return when the next deadline or TTL is due."""
        dues = [
            self._finished_at.get(work.job.name, work.job.created)
            + timedelta(
                seconds=work.manifest["spec"][
                    "ttlSecondsAfterFinished" if work.job.finished else "activeDeadlineSeconds"
                ]
            )
            for work in self._lively()
            if work.job.name not in self._late
        ]
        return min(dues, default=None)

    def delete_jobs_of(self, node: str) -> None:
        """Let somebody who knows nothing of tasks delete a node's Jobs."""
        with self._lock:
            for work in self._lively():
                if work.job.key.node == node:
                    self._delete(work)

    def evict(self, node: str) -> None:
        """Let the pods of a node be evicted: their Jobs fail at once, and a DaemonSet's controller makes a new one."""
        with self._lock:
            for work in self._lively():
                if work.job.key.node == node and not self._is_over(work):
                    self._evict(work)
            for each in self._sets.values():
                if pod := each.pods.get(node):
                    self._tell(evicted(pod))
            super().evict(node)

    def replace_node(self, name: str, uid: str) -> None:
        """Let another machine take a node's name; what ran on the old one is gone."""
        node = self._nodes[name]
        self.remove_node(name)
        self.add_node(replace(node, uid=uid))

    def add_node(self, node: Node) -> None:
        """Add a node, or replace the one of its name; DaemonSets that are meant for it get their pods."""
        with self._lock:
            super().add_node(node)
            if self.pod_refusal:
                return
            for each in self._sets.values():
                if node.name in each.nodes and node.name not in each.pods:
                    self._start_daemon(each, node.name)

    def change_node(self, name: str, **changes: object) -> None:
        """Change what a node says of itself."""
        self.add_node(replace(self._nodes[name], **changes))  # type: ignore[arg-type] # fields of a record by name

    def silence(self, name: str) -> None:
        """Let a node's kubelet stop doing and reporting anything."""
        self.stuck.add(name)
        self.change_node(name, ready=False)

    def restore(self, name: str) -> None:
        """Let a node be as it should."""
        self.stuck.discard(name)
        self.cursed.discard(name)
        self.change_node(name, ready=True, schedulable=True)

    def break_watches(self) -> None:
        """Break every watch off and take it up again with a new list."""
        with self._lock:
            if not self.away:
                for watch in self._watches:
                    watch.lose("connection reset")
                    watch.begin(self._existing())

    def create_daemonset(self, daemonset: Json, timeout: float) -> JobOutcome:
        """See `MemoryCluster.create_daemonset`; what forbids Jobs forbids it too."""
        name = daemonset["metadata"]["name"]
        if self.forbids and not self.away:
            return JobOutcome(name, Creation.REFUSED, self.forbids, 403, "Forbidden")
        return super().create_daemonset(daemonset, timeout)

    def _create(self, manifest: Json) -> JobOutcome:
        name = manifest["metadata"]["name"]
        if self.forbids and not self.away:
            return JobOutcome(name, Creation.REFUSED, self.forbids, 403, "Forbidden")
        if manifest["metadata"]["annotations"][NODE_ANNOTATION] in self.cursed:
            return JobOutcome(name, Creation.FAILED, "Internal error occurred", 500, "InternalError")
        return super()._create(manifest)

    def _admit(self, key: Key, manifest: Json) -> None:
        self.tried.add(key)
        super()._admit(key, manifest)

    def _admit_set(self, manifest: Json) -> None:
        super()._admit_set(manifest)
        made = self._sets[manifest["metadata"]["name"]]
        self.tried |= {replace(made.key, node=node) for node in made.nodes}

    def _set_job(
        self, work: _Work, *, has_pod: bool = True, finished: str = "", reason: str = "", message: str = ""
    ) -> None:
        if finished and self._status_late:
            self._late[work.job.name] = (finished, reason, message)
            return
        super()._set_job(work, has_pod=has_pod, finished=finished, reason=reason, message=message)

    def _evict(self, work: _Work) -> None:
        if work.pod:
            self.failed.add(work.job.key)
            work.pod = evicted(work.pod)
            self._tell(work.pod)
            self._set_job(work, finished="Failed", reason="BackoffLimitExceeded", message="reached its limit")

    def _expire(self, work: _Work) -> None:
        self.failed.add(work.job.key)
        if work.pod:
            self._tell(Gone("Pod", work.job.key, work.pod.name))
            work.pod = None
        self._set_job(work, finished="Failed", reason="DeadlineExceeded", message="active longer than its deadline")

    def _note(self, pod: PodSeen | None, images: tuple[str, ...]) -> None:
        for index, seen in pod.images.items() if pod else ():
            if pod and seen.digest is not None:
                self.pulled.add((pod.key.task_id, pod.key.attempt, pod.key.node, images[index]))

    def _is_over(self, work: _Work) -> bool:
        return bool(work.job.finished) or work.job.name in self._late

    def _lively(self) -> list[_Work]:
        return [
            work for work in self._work.values() if work.job.key in self.late or not self.spared(work.job.key.task_id)
        ]


def evicted(pod: PodSeen) -> PodSeen:
    """Return what becomes of a pod whose node runs out of memory."""
    return replace(pod, phase="Failed", reason="Evicted", message="the node was low on memory")
