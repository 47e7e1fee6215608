"""What a change of a task means for the store: whether it is allowed, and what else has to be written with it."""

from ips_common.errors import TaskFinished
from ips_common.models.task import PendingReason, Task, TaskStatus, queue_order


def check_change(before: Task, after: Task, *, starting: bool = False) -> None:
    """Check that `after` may replace `before`.

    Raises:
        TaskFinished: a finished task would get another status.
        ValueError: a program error: another task, or a task that begins to run without a slot.
    """
    if before.task_id != after.task_id or before.spec.cluster != after.spec.cluster:
        raise ValueError(f"task {before.task_id} cannot become task {after.task_id} of cluster {after.spec.cluster}")
    if before.status.final and after.status is not before.status:
        raise TaskFinished(f"task {before.task_id} is {before.status} and cannot become {after.status}")
    if after.status is TaskStatus.RUNNING and before.status is not TaskStatus.RUNNING and not starting:
        raise ValueError(f"task {before.task_id} can begin to run only by Store.start, which takes a slot")


def takes_slot(after: Task) -> bool:
    """Whether a task that starts needs a slot; one that is final at once (nothing to do) does not."""
    return after.status is TaskStatus.RUNNING


def frees_slot(before: Task, after: Task) -> bool:
    """Whether the change ends the task's hold on its slot."""
    return before.status is TaskStatus.RUNNING and after.status is not TaskStatus.RUNNING


def becomes_final(before: Task | None, after: Task) -> bool:
    """Whether the change finishes the task, so that its figures are due."""
    return after.status.final and (before is None or not before.status.final)


def waits_for_slot(task: Task) -> bool:
    """Whether the task stands in its cluster's queue."""
    return task.status is TaskStatus.PENDING and task.pending_reason is PendingReason.SLOT


def is_open(task: Task) -> bool:
    """Whether the tracker has to look after the task.

    A pending task without a reason is one whose creator has not got round to starting it, perhaps because it died. A
    finished one may have a webhook whose notification was lost.
    """
    return (
        task.cleanup
        or (task.webhook is not None and task.webhook.unsent)
        or task.status is TaskStatus.RUNNING
        or (task.status is TaskStatus.PENDING and not waits_for_slot(task))
    )


def queue_key(task: Task) -> str:
    """`queue_order` as text that sorts the same way, within the task's cluster, ties broken by id."""
    priority, created_at = queue_order(task)
    return f"{queue_prefix(task.spec.cluster)}{100 + priority:03d}/{created_at:%Y%m%dT%H%M%S.%fZ}/{task.task_id}"


def queue_prefix(cluster: str) -> str:
    """What the queue keys of a cluster begin with; a cluster's name has no slash."""
    return f"{cluster}/"
