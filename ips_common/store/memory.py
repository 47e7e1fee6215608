"""The store in memory: a fake that keeps every promise of the port, held to it by the contract tests."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ips_common.errors import Conflict, Contention, SlotsFull, StaleVersion, StoreUnavailable, TaskNotFound
from ips_common.models.results import Shard
from ips_common.models.task import Task, TaskStatus
from ips_common.ports.store import (
    BatchReport,
    ClusterFigures,
    Figures,
    IdempotencyKey,
    Lease,
    NodePage,
    Store,
    StoredShard,
    StoredTask,
    TaskPage,
)
from ips_common.store.ledger import Ledger, entry, webhook_entry
from ips_common.store.lifecycle import (
    becomes_final,
    check_change,
    frees_slot,
    is_open,
    queue_key,
    takes_slot,
    waits_for_slot,
)
from ips_common.store.page import list_nodes, node_start, parse_task_token, task_token

_TRANSITION_TRIES = 20


@dataclass(slots=True)
class _Tables:
    tasks: dict[str, StoredTask] = field(default_factory=dict)
    keys: dict[str, tuple[str, str, datetime]] = field(default_factory=dict)  # key → fingerprint, task id, expiry
    shards: dict[str, dict[tuple[int, int], StoredShard]] = field(default_factory=dict)
    reports: dict[str, dict[tuple[int, int], BatchReport]] = field(default_factory=dict)
    slots: dict[str, set[str]] = field(default_factory=dict)  # cluster → ids of running tasks
    leases: dict[str, Lease] = field(default_factory=dict)
    leased_at: dict[str, datetime] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    version: int = 0


class MemoryStore(Store):
    """A `Store` for tests; `down = True` makes every call raise `StoreUnavailable` and change nothing."""

    def __init__(
        self, max_concurrent_tasks: int = 10, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.down = False
        self._clock = clock
        self._max_tasks = max_concurrent_tasks
        self._lock = threading.RLock()
        self._data = _Tables()

    def create_task(self, task: Task, key: IdempotencyKey | None = None) -> tuple[Task, bool]:
        """See `Store.create_task`."""
        with self._open() as data:
            if key is not None and (first := self.keyed(key, task.created_at)):
                return first, False
            if task.task_id in data.tasks:
                raise Conflict(f"task {task.task_id} exists")
            if key is not None:
                data.keys[key.key] = (key.fingerprint, task.task_id, task.created_at + key.life)
            self._write(data, None, task)
            return task, True

    def keyed(self, key: IdempotencyKey, now: datetime) -> Task | None:
        """See `Store.keyed`."""
        with self._open() as data:
            fingerprint, task_id, expiry = data.keys.get(key.key, ("", "", now))
            if expiry <= now:
                return None
            if fingerprint != key.fingerprint:
                raise Conflict("the idempotency key was used with another body")
            return data.tasks[task_id].task

    def task(self, task_id: str) -> StoredTask:
        """See `Store.task`."""
        with self._open() as data:
            if task_id not in data.tasks:
                raise TaskNotFound(task_id)
            return data.tasks[task_id]

    def list_tasks(
        self,
        *,
        status: TaskStatus | None = None,
        cluster: str | None = None,
        limit: int = 10,
        offset: int = 0,
        page_token: str | None = None,
    ) -> TaskPage:
        """See `Store.list_tasks`."""
        before = parse_task_token(page_token) if page_token is not None else None
        with self._open() as data:
            matching = [
                stored.task
                for stored in data.tasks.values()
                if status in (None, stored.task.status) and cluster in (None, stored.task.spec.cluster)
            ]
        newest_first = sorted(matching, key=_age, reverse=True)
        rest = [task for task in newest_first if before is None or _age(task) < before][offset:]
        token = task_token(*_age(rest[limit - 1])) if len(rest) > limit else None
        return TaskPage(tuple(rest[:limit]), len(matching), token)

    def open_tasks(self, cluster: str) -> Sequence[StoredTask]:
        """See `Store.open_tasks`."""
        return sorted(self._of(cluster, is_open), key=lambda stored: _age(stored.task))

    def queue(self, cluster: str, limit: int) -> Sequence[StoredTask]:
        """See `Store.queue`."""
        return sorted(self._of(cluster, waits_for_slot), key=lambda stored: queue_key(stored.task))[:limit]

    def queued(self, cluster: str) -> int:
        """See `Store.queued`."""
        return len(self._of(cluster, lambda task: task.status is TaskStatus.PENDING))

    def start(
        self, stored: StoredTask, task: Task, shards: Sequence[Shard], taken_over: Sequence[StoredShard]
    ) -> StoredTask:
        """See `Store.start`."""
        check_change(stored.task, task, starting=True)
        with self._open() as data:
            self._check(data, stored, taken_over)
            slots = data.slots.setdefault(task.spec.cluster, set())
            if takes_slot(task) and task.task_id not in slots:
                if len(slots) >= self._max_tasks:
                    raise SlotsFull(f"{len(slots)} tasks run in cluster {task.spec.cluster}")
                slots.add(task.task_id)
            table = data.shards.setdefault(task.task_id, {})
            if any((shard.attempt, shard.index) in table for shard in shards):
                raise StaleVersion(f"attempt {task.attempt} of task {task.task_id} was begun by somebody else")
            self._write_shards(data, task.task_id, [*shards, *(changed.shard for changed in taken_over)])
            return self._write(data, stored.task, task)

    def save(
        self, stored: StoredTask, task: Task, shards: Sequence[StoredShard] = ()
    ) -> tuple[StoredTask, Sequence[StoredShard]]:
        """See `Store.save`."""
        check_change(stored.task, task)
        with self._open() as data:
            self._check(data, stored, shards)
            written = self._write_shards(data, task.task_id, [changed.shard for changed in shards])
            return self._write(data, stored.task, task), written

    def transition(self, task_id: str, change: Callable[[Task], Task]) -> StoredTask:
        """See `Store.transition`."""
        for _ in range(_TRANSITION_TRIES):
            stored = self.task(task_id)
            changed = change(stored.task)
            if changed is stored.task:
                return stored
            try:
                return self.save(stored, changed)[0]
            except StaleVersion:
                continue
        raise Contention(f"task {task_id} was written by others {_TRANSITION_TRIES} times in a row")

    def shards(self, task_id: str, indexes: Sequence[tuple[int, int]]) -> Sequence[StoredShard]:
        """See `Store.shards`."""
        with self._open() as data:
            table = data.shards.get(task_id, {})
            return [table[index] for index in indexes if index in table]

    def all_shards(self, task_id: str) -> Sequence[StoredShard]:
        """See `Store.all_shards`."""
        with self._open() as data:
            return [stored for _, stored in sorted(data.shards.get(task_id, {}).items())]

    def nodes(
        self, task_id: str, *, status: str | None = None, limit: int = 100, page_token: str | None = None
    ) -> NodePage:
        """See `Store.nodes`."""
        start = node_start(page_token)
        return list_nodes((stored.shard for stored in self.all_shards(task_id)), status, limit, start)

    def report(self, task_id: str, report: BatchReport) -> None:
        """See `Store.report`."""
        with self._open() as data:
            data.reports.setdefault(task_id, {})[report.attempt, report.batch] = report

    def reports(self, task_id: str, batches: Sequence[tuple[int, int]]) -> Sequence[BatchReport]:
        """See `Store.reports`."""
        with self._open() as data:
            table = data.reports.get(task_id, {})
            return [table[batch] for batch in batches if batch in table]

    def figures(self, clusters: Sequence[str] = ()) -> Figures:
        """See `Store.figures`."""
        with self._open() as data:
            tasks = [stored.task for stored in data.tasks.values()]
            statuses = Counter(task.status for task in tasks)
            return data.ledger.figures(
                active=statuses[TaskStatus.RUNNING],
                queued=statuses[TaskStatus.PENDING],
                waiting=Counter(task.pending_reason.value for task in tasks if task.pending_reason),
                clusters={name: self._figures_of(data, name) for name in clusters},
            )

    def lease(self, cluster: str) -> Lease | None:
        """See `Store.lease`."""
        with self._open() as data:
            return data.leases.get(cluster)

    def acquire_lease(self, cluster: str, holder: str, seen: Lease | None) -> Lease:
        """See `Store.acquire_lease`."""
        with self._open() as data:
            if data.leases.get(cluster) != seen:
                raise StaleVersion(f"the lease of cluster {cluster} was written by somebody else")
            data.version += 1
            data.leases[cluster] = Lease(holder, data.version)
            data.leased_at[cluster] = self._clock()
            return data.leases[cluster]

    def ready(self, timeout: float) -> None:
        """See `Store.ready`."""
        del timeout
        with self._open():
            return

    def slots(self, cluster: str) -> frozenset[str]:
        """The ids of the tasks that hold a slot; for tests."""
        with self._lock:
            return frozenset(self._data.slots.get(cluster, ()))

    @contextmanager
    def _open(self) -> Iterator[_Tables]:
        if self.down:
            raise StoreUnavailable("the store is down")
        with self._lock:
            yield self._data

    def _of(self, cluster: str, wanted: Callable[[Task], bool]) -> list[StoredTask]:
        with self._open() as data:
            return [
                stored for stored in data.tasks.values() if stored.task.spec.cluster == cluster and wanted(stored.task)
            ]

    def _figures_of(self, data: _Tables, cluster: str) -> ClusterFigures:
        head = self.queue(cluster, 1)
        return ClusterFigures(
            slots=self._max_tasks,
            slots_taken=len(data.slots.get(cluster, ())),
            tracked_at=data.leased_at.get(cluster),
            next_since=head[0].task.created_at if head else None,
        )

    def _check(self, data: _Tables, stored: StoredTask, shards: Iterable[StoredShard]) -> None:
        task_id = stored.task.task_id
        if task_id not in data.tasks or data.tasks[task_id].version != stored.version:
            raise StaleVersion(f"task {task_id} was written by somebody else")
        table = data.shards.get(task_id, {})
        for changed in shards:
            index = (changed.shard.attempt, changed.shard.index)
            if index not in table or table[index].version != changed.version:
                raise StaleVersion(f"shard {index} of task {task_id} was written by somebody else")

    def _write(self, data: _Tables, before: Task | None, task: Task) -> StoredTask:
        if before is not None and frees_slot(before, task):
            data.slots.get(task.spec.cluster, set()).discard(task.task_id)
        if becomes_final(before, task):
            data.ledger.add(entry(task))
        if told := webhook_entry(before, task):
            data.ledger.add(told)
        data.version += 1
        data.tasks[task.task_id] = StoredTask(task, data.version)
        return data.tasks[task.task_id]

    def _write_shards(self, data: _Tables, task_id: str, shards: Iterable[Shard]) -> list[StoredShard]:
        written = []
        for shard in shards:
            data.version += 1
            written.append(StoredShard(shard, data.version))
            data.shards.setdefault(task_id, {})[shard.attempt, shard.index] = written[-1]
        return written


def _age(task: Task) -> tuple[datetime, str]:
    return task.created_at, task.task_id
