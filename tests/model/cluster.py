"""The cluster in memory with what time does to Jobs, more ways to fail, and a memory of what was really pulled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ips_common.cluster.memory import MemoryCluster
from ips_common.cluster.memory_workloads import _Work
from ips_common.observe import Gone, JobSeen, Key
from ips_common.ports.cluster import Creation, JobOutcome, Json


class TimedCluster(MemoryCluster):
    """A cluster whose Jobs end at their deadline and vanish at their TTL; kubelets work when told to."""

    def __init__(self, nodes: int, clock: Callable[[], datetime]) -> None:
        super().__init__("default", nodes, auto=False, clock=clock)
        self.spared: Callable[[str], bool] = lambda _: False
        """Tasks, by id, for whose Jobs nothing happens by itself any more: whoever made them has to remove them."""
        self.tried: set[Key] = set()
        """What there ever was a Job for."""
        self.pulled: set[tuple[str, int, str, str]] = set()
        """(task, attempt, node, image) that a kubelet really pulled."""
        self.forbids = ""
        """What the API server answers to the creation of Jobs, if it forbids that."""
        self.doomed: set[tuple[int, str]] = set()
        """(attempt, node) of pods that are evicted instead of pulling anything."""
        self._finished_at: dict[str, datetime] = {}

    def live_jobs(self) -> list[JobSeen]:
        """Return the Jobs that are not finished."""
        return [work.job for work in self._work.values() if not work.job.finished]

    def names_of(self, task_id: str) -> list[str]:
        """Return the names of a task's Jobs."""
        return [name for name, work in self._work.items() if work.job.key.task_id == task_id]

    def work(self, node: str | None = None) -> None:
        """Let kubelets work, or one of them."""
        with self._lock:
            for work in self._lively():
                if not work.pod or work.job.finished or node not in {None, work.job.key.node}:
                    continue
                if (work.job.key.attempt, work.job.key.node) in self.doomed:
                    self._evict(work)
                else:
                    self._pull(work)
                    self._note(work)

    def pass_time(self) -> None:
        """Let deadlines and TTLs that are due take effect."""
        now = self.clock()
        with self._lock:
            for work in self._lively():
                job, spec = work.job, work.manifest["spec"]
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
        ]
        return min(dues, default=None)

    def evict(self, node: str) -> None:
        """Let the pods of a node be evicted: their Jobs fail at once."""
        with self._lock:
            for work in self._lively():
                if work.job.key.node == node and not work.job.finished:
                    self._evict(work)

    def replace_node(self, name: str, uid: str) -> None:
        """Let another machine take a node's name; what ran on the old one is gone."""
        node = self._nodes[name]
        self.remove_node(name)
        self.add_node(replace(node, uid=uid))

    def change_node(self, name: str, **changes: object) -> None:
        """Change what a node says of itself."""
        self.add_node(replace(self._nodes[name], **changes))  # type: ignore[arg-type] # fields of a record by name

    def break_watches(self) -> None:
        """Break every watch off and take it up again with a new list."""
        with self._lock:
            if not self.away:
                for watch in self._watches:
                    watch.lose("connection reset")
                    watch.begin(self._existing())

    def _create(self, manifest: Json) -> JobOutcome:
        if self.forbids and not self.away:
            return JobOutcome(manifest["metadata"]["name"], Creation.REFUSED, self.forbids, 403, "Forbidden")
        return super()._create(manifest)

    def _evict(self, work: _Work) -> None:
        if work.pod:
            work.pod = replace(work.pod, phase="Failed", reason="Evicted", message="the node was low on memory")
            self._tell(work.pod)
            self._set_job(work, finished="Failed", reason="BackoffLimitExceeded", message="reached its limit")

    def _expire(self, work: _Work) -> None:
        if work.pod:
            self._tell(Gone("Pod", work.job.key, work.pod.name))
            work.pod = None
        self._set_job(work, finished="Failed", reason="DeadlineExceeded", message="active longer than its deadline")

    def _note(self, work: _Work) -> None:
        key = work.job.key
        for index, seen in work.pod.images.items() if work.pod else ():
            if seen.digest is not None:
                self.pulled.add((key.task_id, key.attempt, key.node, work.images[index]))

    def _lively(self) -> list[_Work]:
        return [work for work in self._work.values() if not self.spared(work.job.key.task_id)]
