"""How long documents are kept; Firestore's TTL policy on `expireAt` removes them."""

from datetime import datetime, timedelta

from ips_common.models.task import Task

RETENTION = timedelta(days=30)
"""How long a finished task can be read, unless configured."""


def shard_expiry(task: Task, now: datetime, retention: timedelta) -> datetime:
    """When a shard written now may go: long after its task can have finished.

    The shards of a finished task are not written once more just to mark them, so the time a task may take is added
    beforehand: every batch of every attempt that is left running into its deadline, one after the other.
    """
    attempts = task.spec.max_retries + 1 - task.attempt
    longest = (task.batches + 1) * task.spec.timeout_seconds + 2**task.spec.max_retries * task.spec.retry_delay_seconds
    return now + retention * 2 + timedelta(seconds=max(1, attempts) * longest)
