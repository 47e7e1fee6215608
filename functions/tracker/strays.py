"""What lives in the cluster although its task is over: created by a batch just as the task ended."""

import logging
from datetime import datetime, timedelta

from ips_common.errors import IPSError
from ips_common.models.task import TaskStatus
from ips_common.observe import Gone, JobSeen, Observation
from ips_common.ports.cluster import Clusters

logger = logging.getLogger(__name__)

ENDING = timedelta(seconds=10)
"""How long a Job may outlive its task: a node is settled when its pod has ended, and the Job's status follows."""
MOST_REMEMBERED = 10_000


class Strays:
    """Remembers which tasks are over, and deletes what goes on living for them."""

    def __init__(self, cluster: str, clusters: Clusters) -> None:
        self._cluster = cluster
        self._clusters = clusters
        self._over: dict[str, TaskStatus | None] = {}
        self._jobs: dict[str, datetime] = {}
        self._sets: set[str] = set()

    def remember(self, task_id: str, status: TaskStatus | None) -> None:
        """Note that a task is over, with its final status; None for one that is not ours to look after."""
        while len(self._over) >= MOST_REMEMBERED:
            del self._over[next(iter(self._over))]
        self._over[task_id] = status

    def knows(self, task_id: str) -> bool:
        """Whether a task is known to be over, or not ours."""
        return task_id in self._over

    @property
    def waiting(self) -> bool:
        """Whether something lives that may have to be deleted."""
        return bool(self._jobs or self._sets)

    def see(self, event: Observation, now: datetime) -> None:
        """Take in what is seen of a task that is over."""
        status = self._over.get(event.key.task_id)
        if status is None:
            return
        if isinstance(event, Gone) or (isinstance(event, JobSeen) and (event.finished or event.terminating)):
            self._jobs.pop(event.name, None)
        elif isinstance(event, JobSeen):
            patience = timedelta() if status is TaskStatus.CANCELLED else ENDING
            self._jobs.setdefault(event.name, now + patience)
        elif event.daemonset and not event.terminating:
            self._sets.add(event.key.task_id)

    def sweep(self, now: datetime) -> None:
        """Delete what has lived long enough; what cannot be deleted now is tried again."""
        due = [name for name, at in self._jobs.items() if at <= now]
        if not due and not self._sets:
            return
        logger.info("deleting what tasks left that are over", extra={"jobs": len(due), "daemonSets": len(self._sets)})
        try:
            cluster = self._clusters.get(self._cluster)
            cluster.delete_named_jobs(due)
            for task_id in self._sets:
                cluster.delete_daemonsets(task_id)
        except IPSError as error:
            logger.warning("what is left of tasks that are over is not deleted yet", extra={"error": str(error)})
            self._jobs.update(dict.fromkeys(due, now + ENDING))
            return
        for name in due:
            del self._jobs[name]
        self._sets.clear()
