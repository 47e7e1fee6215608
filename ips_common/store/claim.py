"""A caller's idempotency key: which task it stands for."""

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ips_common.errors import Conflict
from ips_common.models.task import Task
from ips_common.ports.store import IdempotencyKey
from ips_common.store.commit import Commit, Document, Version, version_of
from ips_common.store.reading import reading
from ips_common.store.rpc import Rpc
from ips_common.store.taskdoc import decode_task, plain_time

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import DocumentReference, DocumentSnapshot


def key_document(rpc: Rpc, key: IdempotencyKey) -> "DocumentReference":
    """The document that says which task a key stands for."""
    return rpc.client.document("idempotency", hashlib.sha256(key.key.encode()).hexdigest())


def keyed_task(rpc: Rpc, key: IdempotencyKey, snapshot: "DocumentSnapshot[Any]", now: datetime) -> Task | None:
    """The task that a key stands for at `now`, by what its document said; None if it stands for none.

    Raises:
        Conflict: the key was used with another body.
    """
    document = snapshot.to_dict() if snapshot.exists else None
    # Firestore may be a day late with removing what has expired.
    if not document or plain_time(document["expireAt"]) <= now:
        return None
    if document["fingerprint"] != key.fingerprint:
        raise Conflict("the idempotency key was used with another body")
    task = rpc.get(rpc.client.document("tasks", document["taskId"]))
    if not task.exists:
        return None
    with reading(task.reference.path):
        return decode_task(task.to_dict() or {})


class Claim:
    """One task's claim on a key. Claiming comes first and reading only if that fails: keys are rarely used twice."""

    def __init__(self, rpc: Rpc, key: IdempotencyKey, task: Task) -> None:
        self._rpc = rpc
        self._key = key
        self._task = task
        self._reference = key_document(rpc, key)
        self._stale: Version | None = None

    def add(self, commit: Commit) -> None:
        """Let the commit that creates the task also claim the key."""
        document: Document = {
            "fingerprint": self._key.fingerprint,
            "taskId": self._task.task_id,
            "expireAt": self._task.created_at + self._key.life,
        }
        if self._stale:
            commit.update(self._reference, self._stale, document)
        else:
            commit.create(self._reference, document)

    def first_task(self) -> Task | None:
        """The task that the key stands for; None if it stands for none any more, then `add` takes it over.

        Raises:
            Conflict: the key was used with another body.
        """
        snapshot = self._rpc.get(self._reference)
        task = keyed_task(self._rpc, self._key, snapshot, self._task.created_at)
        self._stale = version_of(snapshot) if snapshot.exists and not task else None
        return task
