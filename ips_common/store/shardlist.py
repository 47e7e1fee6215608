"""The shards and reports of tasks as documents below them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ips_common.models.results import Shard
from ips_common.models.task import Task
from ips_common.ports.store import BatchReport, StoredShard
from ips_common.store.commit import Commit, Document, own_version, version_of
from ips_common.store.page import NodePlace
from ips_common.store.reading import reading
from ips_common.store.reportdoc import decode_report, encode_report
from ips_common.store.retention import shard_expiry
from ips_common.store.rpc import Rpc
from ips_common.store.sharddoc import COMMIT_BUDGET, MESSAGE_BUDGET, decode_shard, encode_shard

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import DocumentReference, DocumentSnapshot

_SHARDS_PER_READ = 10
"""Shards read at a time when nodes are listed: 1,000 nodes."""


class ShardList:
    """The shards and reports of all tasks of a database."""

    def __init__(self, rpc: Rpc, retention: timedelta, clock: Callable[[], datetime]) -> None:
        self._rpc = rpc
        self._retention = retention
        self._clock = clock

    def create(self, commit: Commit, task: Task, shards: Sequence[Shard]) -> None:
        """Add new shards to a commit; they share what room it has for messages."""
        budget = min(MESSAGE_BUDGET, COMMIT_BUDGET // max(1, len(shards)))
        for shard in shards:
            commit.create(self._shard(task.task_id, shard.attempt, shard.index), self._document(task, shard, budget))

    def update(self, commit: Commit, task: Task, shards: Iterable[StoredShard]) -> None:
        """Add changed shards to a commit."""
        for stored in shards:
            reference = self._shard(task.task_id, stored.shard.attempt, stored.shard.index)
            document = self._document(task, stored.shard, MESSAGE_BUDGET)
            commit.update(reference, own_version(stored.version), document)

    def read(self, task_id: str, indexes: Sequence[tuple[int, int]]) -> Sequence[StoredShard]:
        """See `Store.shards`."""
        references = [self._shard(task_id, attempt, index) for attempt, index in indexes]
        return [_stored(snapshot) for snapshot in self._rpc.get_all(references)]

    def read_from(self, task_id: str, place: NodePlace) -> Iterator[StoredShard]:
        """Read a task's shards in order from a place on, a few at a time and only while they are asked for."""
        start = self._shard(task_id, place.attempt, place.shard)
        query = start.parent.order_by("__name__").limit(_SHARDS_PER_READ)
        page = self._rpc.query(f"shards of task {task_id}", query.start_at({"__name__": start}))
        while page:
            yield from (_stored(snapshot) for snapshot in page)
            if len(page) < _SHARDS_PER_READ:
                return
            rest = query.start_after({"__name__": page[-1].reference})
            page = self._rpc.query(f"shards of task {task_id}", rest)

    def report(self, task_id: str, report: BatchReport) -> None:
        """See `Store.report`."""
        reference = self._report(task_id, report.attempt, report.batch)
        commit = Commit(self._rpc)
        commit.replace(reference, encode_report(report, self._clock() + 2 * self._retention))
        commit.run(reference.path)

    def reports(self, task_id: str, batches: Sequence[tuple[int, int]]) -> Sequence[BatchReport]:
        """See `Store.reports`."""
        references = [self._report(task_id, attempt, batch) for attempt, batch in batches]
        return [_reported(snapshot) for snapshot in self._rpc.get_all(references)]

    def _document(self, task: Task, shard: Shard, message_budget: int) -> Document:
        expires = shard_expiry(task, self._clock(), self._retention)
        return encode_shard(shard, message_budget=message_budget) | {"expireAt": expires}

    def _shard(self, task_id: str, attempt: int, index: int) -> "DocumentReference":
        # Padded, so that names sort as the numbers do and listing needs no index.
        return self._rpc.client.document("tasks", task_id, "shards", f"{attempt}-{index:05d}")

    def _report(self, task_id: str, attempt: int, batch: int) -> "DocumentReference":
        return self._rpc.client.document("tasks", task_id, "reports", f"{attempt}-{batch}")


def _stored(snapshot: "DocumentSnapshot[Any]") -> StoredShard:
    version = version_of(snapshot)
    with reading(snapshot.reference.path):
        return StoredShard(decode_shard(version.document), version)


def _reported(snapshot: "DocumentSnapshot[Any]") -> BatchReport:
    with reading(snapshot.reference.path):
        return decode_report(snapshot.to_dict() or {})
