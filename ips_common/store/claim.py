"""A caller's idempotency key: which task it stands for."""

import hashlib

from ips_common.errors import Conflict
from ips_common.models.task import Task
from ips_common.ports.store import IdempotencyKey
from ips_common.store.commit import Commit, Document, Version, version_of
from ips_common.store.retention import KEY_LIFE
from ips_common.store.rpc import Rpc
from ips_common.store.taskdoc import decode_task, plain_time


class Claim:
    """One task's claim on a key. Claiming comes first and reading only if that fails: keys are rarely used twice."""

    def __init__(self, rpc: Rpc, key: IdempotencyKey, task: Task) -> None:
        self._rpc = rpc
        self._key = key
        self._task = task
        self._reference = rpc.client.document("idempotency", hashlib.sha256(key.key.encode()).hexdigest())
        self._stale: Version | None = None

    def add(self, commit: Commit) -> None:
        """Let the commit that creates the task also claim the key."""
        document: Document = {
            "fingerprint": self._key.fingerprint,
            "taskId": self._task.task_id,
            "expireAt": self._task.created_at + KEY_LIFE,
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
        self._stale = None
        snapshot = self._rpc.get(self._reference)
        if not snapshot.exists:
            return None
        claimed = version_of(snapshot)
        # Firestore may be a day late with removing what has expired.
        if plain_time(claimed.document["expireAt"]) > self._task.created_at:
            if claimed.document["fingerprint"] != self._key.fingerprint:
                raise Conflict("the idempotency key was used with another body")
            task = self._rpc.get(self._rpc.client.document("tasks", claimed.document["taskId"]))
            if task.exists:
                return decode_task(task.to_dict() or {})
        self._stale = claimed
        return None
