"""Queries over tasks: lists for callers, open tasks and queues for the tracker."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from google.cloud.firestore_v1 import FieldFilter, Query

from ips_common.errors import UnreadableDocument
from ips_common.models.task import TaskStatus
from ips_common.ports.store import StoredTask, TaskPage
from ips_common.store.commit import version_of
from ips_common.store.lifecycle import queue_prefix
from ips_common.store.page import parse_task_token, task_token
from ips_common.store.reading import reading
from ips_common.store.rpc import Rpc
from ips_common.store.taskdoc import decode_task, plain_time

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import CollectionReference, DocumentSnapshot

logger = logging.getLogger(__name__)

_NAME = "__name__"


class TaskList:
    """The tasks of a database, as queries find them.

    What filters and sorts at once needs a composite index, declared in `infra/firestore.indexes.json`; the tracker's
    own queries look at one field each and need none.

    One document that cannot be read must not hide all others, so lists leave it out and say so in the log.
    """

    def __init__(self, rpc: Rpc, tasks: "CollectionReference") -> None:
        self._rpc = rpc
        self._tasks = tasks

    def page(
        self, status: TaskStatus | None, cluster: str | None, *, limit: int, offset: int, page_token: str | None
    ) -> TaskPage:
        """See `Store.list_tasks`."""
        matching: Any = self._tasks
        if status is not None:
            matching = matching.where(filter=FieldFilter("status", "==", status.value))
        if cluster is not None:
            matching = matching.where(filter=FieldFilter("spec.cluster", "==", cluster))
        query = matching.order_by("createdAt", direction=Query.DESCENDING).order_by(_NAME, direction=Query.DESCENDING)
        if page_token is not None:
            created_at, task_id = parse_task_token(page_token)
            query = query.start_after({"createdAt": created_at, _NAME: self._tasks.document(task_id)})
        found = self._rpc.query("tasks", query.offset(offset).limit(limit + 1))
        tasks = tuple(stored.task for stored in _readable(found[:limit]))
        token = task_token(*_place(found[limit - 1])) if len(found) > limit else None
        return TaskPage(tasks, self._rpc.count("tasks", matching), token)

    def open(self, cluster: str) -> Sequence[StoredTask]:
        """See `Store.open_tasks`."""
        query = self._tasks.where(filter=FieldFilter("openIn", "==", cluster))
        found = _readable(self._rpc.query(f"open tasks of {cluster}", query))
        return sorted(found, key=lambda stored: (stored.task.created_at, stored.task.task_id))

    def queue(self, cluster: str, limit: int) -> Sequence[StoredTask]:
        """See `Store.queue`."""
        prefix = queue_prefix(cluster)
        query = (
            self._tasks.where(filter=FieldFilter("queueKey", ">=", prefix))
            .where(filter=FieldFilter("queueKey", "<", prefix + "~"))
            .order_by("queueKey")
        )
        asked = limit
        while True:
            found = self._rpc.query(f"the queue of {cluster}", query.limit(asked))
            tasks = list(_readable(found))
            if len(tasks) >= limit or len(found) < asked:
                return tasks[:limit]
            # Whatever stands at the head must not keep those behind it waiting for ever.
            asked *= 2

    def queued(self, cluster: str) -> int:
        """See `Store.queued`."""
        query = self._tasks.where(filter=FieldFilter("status", "==", TaskStatus.PENDING.value))
        return self._rpc.count(
            f"pending tasks of {cluster}", query.where(filter=FieldFilter("spec.cluster", "==", cluster))
        )

    def count(self, field: str, value: StrEnum) -> int:
        """Count the tasks of all clusters in which a field has this value."""
        query = self._tasks.where(filter=FieldFilter(field, "==", value.value))
        return self._rpc.count(f"tasks with {field} {value}", query)


def stored_task(snapshot: "DocumentSnapshot[Any]") -> StoredTask:
    """The task of a document that exists.

    Raises:
        UnreadableDocument: it holds none.
    """
    version = version_of(snapshot)
    with reading(snapshot.reference.path):
        return StoredTask(decode_task(version.document), version)


def _readable(snapshots: Iterable["DocumentSnapshot[Any]"]) -> Iterator[StoredTask]:
    for snapshot in snapshots:
        try:
            yield stored_task(snapshot)
        except UnreadableDocument as error:
            logger.error("task left out", extra={"error": str(error)})  # noqa: TRY400 - no bug of ours


def _place(snapshot: "DocumentSnapshot[Any]") -> tuple[datetime, str]:
    """Where a list that is sorted by time goes on; the query has found a time, so there is one."""
    return plain_time((snapshot.to_dict() or {})["createdAt"]), snapshot.id
