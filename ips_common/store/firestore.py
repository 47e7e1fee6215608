"""The store on Firestore.

    tasks/{task}                          the task
    tasks/{task}/shards/{attempt-index}   a run of its nodes with their results
    tasks/{task}/reports/{attempt-batch}  what the batch function could not create
    idempotency/{sha256 of the key}       the first task of a caller's key
    clusters/{cluster}                    the running tasks: the slots
    leases/{cluster}                      who tracks the cluster
    figures/tasks-{n}                     counters over finished tasks and their webhooks

No transactions: they lock what they read, and hot documents starve. One atomic commit per verb, guarded by the update
times its decision was taken on.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.cloud.firestore_v1 import DELETE_FIELD

from ips_common.errors import Conflict, Contention, SlotsFull, StaleVersion, TaskNotFound
from ips_common.models.results import Shard
from ips_common.models.task import Task, TaskStatus
from ips_common.ports.store import (
    BatchReport,
    Figures,
    IdempotencyKey,
    Lease,
    NodePage,
    Store,
    StoredShard,
    StoredTask,
    TaskPage,
)
from ips_common.store.claim import Claim, key_document, keyed_task
from ips_common.store.commit import Commit, Version, own_version, version_of
from ips_common.store.figuredoc import encode_increments, figure_id
from ips_common.store.figurelist import FigureList
from ips_common.store.ledger import entry, webhook_entry
from ips_common.store.lifecycle import becomes_final, check_change, frees_slot, takes_slot
from ips_common.store.page import NodePlace, is_task_id, list_nodes, node_start
from ips_common.store.retention import RETENTION
from ips_common.store.rpc import CONTENTION_TIMEOUT, TIMEOUT, Rpc, tries
from ips_common.store.shardlist import ShardList
from ips_common.store.taskdoc import encode_task
from ips_common.store.tasklist import TaskList, stored_task

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import Client, DocumentReference


class FirestoreStore(Store):
    """A `Store` in one Firestore database."""

    def __init__(
        self,
        client: "Client",
        max_concurrent_tasks: int = 10,
        *,
        retention: timedelta = RETENTION,
        timeout: float = TIMEOUT,
        contention_timeout: float = CONTENTION_TIMEOUT,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make a store in which finished tasks are kept for `retention`.

        `timeout` bounds each call and `contention_timeout` each change that others may come between, in seconds.
        """
        self._client = client
        self._rpc = Rpc(client, timeout)
        self._max_tasks = max_concurrent_tasks
        self._retention = retention
        self._list = TaskList(self._rpc, client.collection("tasks"))
        self._figures = FigureList(self._rpc, self._list, max_concurrent_tasks)
        self._shards = ShardList(self._rpc, retention, clock)
        self._clock = clock
        self._contention_timeout = contention_timeout

    def create_task(self, task: Task, key: IdempotencyKey | None = None) -> tuple[Task, bool]:
        """See `Store.create_task`."""
        claim = Claim(self._rpc, key, task) if key else None
        for _ in tries(self._contention_timeout):
            commit = Commit(self._rpc)
            commit.create(self._task(task.task_id), encode_task(task, self._retention))
            if claim:
                claim.add(commit)
            self._account(commit, None, task)
            try:
                commit.run(f"tasks/{task.task_id}")
            except StaleVersion as error:
                if not claim:
                    raise Conflict(f"task {task.task_id} exists") from error
                first = claim.first_task()
                if first:
                    return first, False
            else:
                return task, True
        raise Contention(f"task {task.task_id} or its idempotency key was written by others all the time")

    def keyed(self, key: IdempotencyKey, now: datetime) -> Task | None:
        """See `Store.keyed`."""
        return keyed_task(self._rpc, key, self._rpc.get(key_document(self._rpc, key)), now)

    def task(self, task_id: str) -> StoredTask:
        """See `Store.task`."""
        snapshot = self._rpc.get(self._task(task_id)) if is_task_id(task_id) else None
        if snapshot is None or not snapshot.exists:
            raise TaskNotFound(task_id)
        return stored_task(snapshot)

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
        return self._list.page(status, cluster, limit=limit, offset=offset, page_token=page_token)

    def open_tasks(self, cluster: str) -> Sequence[StoredTask]:
        """See `Store.open_tasks`."""
        return self._list.open(cluster)

    def queue(self, cluster: str, limit: int) -> Sequence[StoredTask]:
        """See `Store.queue`."""
        return self._list.queue(cluster, limit)

    def queued(self, cluster: str) -> int:
        """See `Store.queued`."""
        return self._list.queued(cluster)

    def start(
        self, stored: StoredTask, task: Task, shards: Sequence[Shard], taken_over: Sequence[StoredShard]
    ) -> StoredTask:
        """See `Store.start`."""
        check_change(stored.task, task, starting=True)
        used: Version | None = None
        for number in tries(self._contention_timeout):
            slots = self._read(self._slots(task)) if takes_slot(task) else None
            if number and slots == used:
                # The slots stood still, so it was the task or a shard that somebody else wrote.
                raise StaleVersion(f"task {task.task_id} was written by somebody else")
            used = slots
            commit = Commit(self._rpc)
            commit.update(self._task(task.task_id), own_version(stored.version), encode_task(task, self._retention))
            self._shards.create(commit, task, shards)
            self._shards.update(commit, task, taken_over)
            if takes_slot(task):
                self._take_slot(commit, slots, task)
            self._account(commit, stored.task, task)
            try:
                return StoredTask(task, commit.run(f"the start of tasks/{task.task_id}")[0])
            except StaleVersion:
                continue
        raise Contention(f"the slots of cluster {task.spec.cluster} were written by others all the time")

    def save(
        self, stored: StoredTask, task: Task, shards: Sequence[StoredShard] = ()
    ) -> tuple[StoredTask, Sequence[StoredShard]]:
        """See `Store.save`."""
        check_change(stored.task, task)
        commit = Commit(self._rpc)
        commit.update(self._task(task.task_id), own_version(stored.version), encode_task(task, self._retention))
        self._shards.update(commit, task, shards)
        self._account(commit, stored.task, task)
        first, *rest = commit.run(f"tasks/{task.task_id}")
        written = [StoredShard(changed.shard, version) for changed, version in zip(shards, rest, strict=True)]
        return StoredTask(task, first), written

    def transition(self, task_id: str, change: Callable[[Task], Task]) -> StoredTask:
        """See `Store.transition`."""
        for _ in tries(self._contention_timeout):
            stored = self.task(task_id)
            changed = change(stored.task)
            if changed is stored.task:
                return stored
            try:
                return self.save(stored, changed)[0]
            except StaleVersion:
                continue
        raise Contention(f"task {task_id} was written by others all the time")

    def shards(self, task_id: str, indexes: Sequence[tuple[int, int]]) -> Sequence[StoredShard]:
        """See `Store.shards`."""
        return self._shards.read(task_id, indexes)

    def all_shards(self, task_id: str) -> Sequence[StoredShard]:
        """See `Store.all_shards`."""
        return list(self._shards.read_from(task_id, NodePlace(0, 0, 0)))

    def nodes(
        self, task_id: str, *, status: str | None = None, limit: int = 100, page_token: str | None = None
    ) -> NodePage:
        """See `Store.nodes`."""
        start = node_start(page_token)
        return list_nodes((stored.shard for stored in self._shards.read_from(task_id, start)), status, limit, start)

    def report(self, task_id: str, report: BatchReport) -> None:
        """See `Store.report`."""
        self._shards.report(task_id, report)

    def reports(self, task_id: str, batches: Sequence[tuple[int, int]]) -> Sequence[BatchReport]:
        """See `Store.reports`."""
        return self._shards.reports(task_id, batches)

    def figures(self, clusters: Sequence[str] = ()) -> Figures:
        """See `Store.figures`."""
        return self._figures.read(clusters)

    def lease(self, cluster: str) -> Lease | None:
        """See `Store.lease`."""
        version = self._read(self._document("leases", cluster))
        return Lease(version.document["holder"], version) if version else None

    def acquire_lease(self, cluster: str, holder: str, seen: Lease | None) -> Lease:
        """See `Store.acquire_lease`."""
        commit = Commit(self._rpc)
        reference = self._document("leases", cluster)
        if seen:
            commit.update(reference, own_version(seen.version), {"holder": holder})
        else:
            commit.create(reference, {"holder": holder})
        return Lease(holder, commit.run(f"leases/{cluster}")[0])

    def ready(self, timeout: float) -> None:
        """See `Store.ready`."""
        self._rpc.get(self._document("leases", "ready"), timeout=timeout)

    def _document(self, collection: str, name: str) -> "DocumentReference":
        return self._rpc.client.document(collection, name)

    def _task(self, task_id: str) -> "DocumentReference":
        return self._document("tasks", task_id)

    def _slots(self, task: Task) -> "DocumentReference":
        return self._document("clusters", task.spec.cluster)

    def _read(self, reference: "DocumentReference") -> Version | None:
        snapshot = self._rpc.get(reference)
        return version_of(snapshot) if snapshot.exists else None

    def _take_slot(self, commit: Commit, slots: Version | None, task: Task) -> None:
        running = slots.document.get("running", {}) if slots else {}
        if task.task_id in running:
            return
        if len(running) >= self._max_tasks:
            raise SlotsFull(f"{len(running)} tasks run in cluster {task.spec.cluster}")
        document = {"running": {**running, task.task_id: self._clock()}}
        if slots:
            commit.update(self._slots(task), slots, document)
        else:
            commit.create(self._slots(task), document)

    def _account(self, commit: Commit, before: Task | None, task: Task) -> None:
        """Add what a change means for the slots and figures to its commit; neither is guarded, so neither is hot."""
        if before and frees_slot(before, task):
            commit.merge(self._slots(task), {"running": {task.task_id: DELETE_FIELD}})
        if becomes_final(before, task):
            figures = self._document("figures", figure_id(task.task_id))
            current = self._read(figures)
            commit.merge(figures, encode_increments(entry(task), current.document if current else {}))
        if told := webhook_entry(before, task):
            commit.merge(self._document("figures", figure_id(task.task_id)), encode_increments(told, {}))
