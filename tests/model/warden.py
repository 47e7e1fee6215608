"""Looks at every write, whoever made it, and at everything that is made in the cluster."""

from collections.abc import Callable, Sequence
from datetime import datetime

from ips_common.models.task import Task, TaskStatus, queue_order
from ips_common.observe import Key
from ips_common.ports.store import Lease
from ips_common.store.lifecycle import waits_for_slot
from ips_common.store.memory import MemoryStore
from tests.model.cluster import TimedCluster
from tests.model.rule import broken, untrue

CLUSTER = "default"


class Warden:
    """Notes in `wrong` what must never happen."""

    def __init__(
        self,
        store: MemoryStore,
        cluster: TimedCluster,
        slots: int,
        lease_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.wrong: list[str] = []
        self._store = store
        self._cluster = cluster
        self._slots = slots
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._known: dict[str, Task] = {}
        self._versions: dict[str, object] = {}
        self._lease: Lease | None = None
        self._lease_at = clock()

    def waiting(self) -> list[Task]:
        """Return the tasks that stand in the queue."""
        return [stored.task for stored in self._store._data.tasks.values() if waits_for_slot(stored.task)]

    def check_writes(self, who: str) -> None:
        """Check all tasks that were written since the last time, the slots and the lease."""
        changed = False
        for task_id, stored in self._store._data.tasks.items():
            if self._versions.get(task_id) == stored.version:
                continue
            changed = True
            shards = [item.shard for _, item in sorted(self._store._data.shards.get(task_id, {}).items())]
            faults = broken(self._known.get(task_id), stored.task, shards)
            seen = self._cluster
            faults += untrue(stored.task, shards, seen.tried, seen.failed, seen.pulled)
            self.wrong += [f"{who} wrote {task_id}: {fault}" for fault in faults]
            self._versions[task_id], self._known[task_id] = stored.version, stored.task
        if changed:
            self._check_slots(who)
        lease = self._store._data.leases.get(CLUSTER)
        if lease != self._lease:
            self._check_lease(who, self._lease, lease)
            self._lease, self._lease_at = lease, self._clock()

    def _check_slots(self, who: str) -> None:
        running = {task.task_id for task in self._known.values() if task.status is TaskStatus.RUNNING}
        slots = self._store.slots(CLUSTER)
        if slots != running or len(slots) > self._slots:
            self.wrong.append(f"{who}: slots are held by {sorted(slots)}, running are {sorted(running)}")

    def _check_lease(self, who: str, before: Lease | None, lease: Lease | None) -> None:
        if before is None or not before.holder or lease is None or lease.holder in {"", before.holder}:
            return
        silent = (self._clock() - self._lease_at).total_seconds()
        if silent < self._lease_seconds:
            self.wrong.append(f"{who} took a lease that was renewed {silent} s before")

    def check_holder(self, who: str, holder: str) -> None:
        """Check that whoever begins to track holds the lease."""
        lease = self._store._data.leases.get(CLUSTER)
        if lease is None or lease.holder != holder:
            self.wrong.append(f"{who} begins to track without the lease")

    def check_released(self, holder: str) -> None:
        """Check that whoever has ended tracking gave the lease back."""
        lease = self._store._data.leases.get(CLUSTER)
        if lease and lease.holder == holder:
            self.wrong.append("a tracker kept its lease")

    def check_turn(self, task: Task, waiting: Sequence[Task]) -> None:
        """Check that a task that starts took no other's turn: `waiting` stood in the queue when that was read."""
        if task.status is not TaskStatus.RUNNING:
            return
        still = {other.task_id for other in self.waiting()}
        passed = [other for other in waiting if other.task_id in still and queue_order(other) < queue_order(task)]
        if passed:
            self.wrong.append(f"{task.task_id} started although {passed[0].task_id} stood before it in the queue")

    def check_made(self, key: Key) -> None:
        """Check that a Job or DaemonSet that was just made was asked for."""
        task = self._known[key.task_id]
        if (key.attempt, key.batch) > (task.attempt, task.opened):
            self.wrong.append(f"a Job of {key} was created while batch {task.opened} was the last one opened")
        if task.status is TaskStatus.COMPLETED:
            self._cluster.late.add(key)
