"""How a task ends, and how whoever wants to hear of it is told.

Every end of a task is made by `finish`, so none is left untold. The notification is its own outbox, like an open batch:
that the task has ended and that its webhook is due are the same write.
"""

import logging
from datetime import datetime, timedelta

from ips_common.models.message import Notification
from ips_common.models.task import Task, TaskStatus
from ips_common.models.webhook import MAX_ERROR, Webhook, WebhookState

logger = logging.getLogger(__name__)

NOTICE_PATIENCE = timedelta(seconds=30)
"""How long the first sending of a notification is trusted; longer than one delivery may take."""


def finish(task: Task, status: TaskStatus, now: datetime, error_message: str | None = None) -> Task:
    """Return the task as it ends with `status`; `error_message` says why it failed."""
    webhook = Webhook(event_id=f"{task.task_id}.{status.value}") if task.spec.webhook_url else None
    return task.model_copy(
        update={
            "status": status,
            "pending_reason": None,
            "not_before": None,
            "finished_at": now,
            "error_message": error_message,
            "open_batches": (),
            "webhook": webhook,
        }
    )


def log_end(task: Task, now: datetime) -> None:
    """Log that a task, as it is stored now, ended at `now`; nothing if it goes on, or ended at another time.

    Whoever stores an end calls this. Metrics and alerts count the entry by its `status` (`infra/monitoring.tf`).
    """
    if not task.status.final or task.finished_at != now:
        return
    fields = {
        "taskId": task.task_id,
        "cluster": task.spec.cluster,
        "requestId": task.request_id,
        "status": task.status.value,
        "attempt": task.attempt,
        "completed": task.completed_nodes,
        "failed": task.failed_nodes,
        "seconds": round((now - task.created_at).total_seconds(), 3),
        "error": task.error_message,
    }
    logger.info("task ended", extra={name: value for name, value in fields.items() if value is not None})


def outlived(task: Task, attempt: int) -> bool:
    """Whether what a batch of `attempt` made, or makes just now, must go again.

    Jobs that come late end by themselves, unless the task was cancelled or failed as a whole; a DaemonSet never does.
    """
    if task.is_daemonset:
        return task.status is not TaskStatus.RUNNING or task.attempt != attempt
    return task.status in {TaskStatus.CANCELLED, TaskStatus.FAILED}


def with_leftovers(task: Task, attempt: int) -> Task:
    """Return the task marked for cleaning up if a batch may have left what must go; otherwise the same object."""
    if task.cleanup or not outlived(task, attempt):
        return task
    return task.model_copy(update={"cleanup": True})


def notifications(task: Task) -> list[Notification]:
    """Return the notification that is still to be sent, if there is one."""
    if task.webhook is None or not task.webhook.unsent:
        return []
    return [Notification(task_id=task.task_id, event_id=task.webhook.event_id, request_id=task.request_id)]


def overdue(task: Task, now: datetime) -> bool:
    """Whether the notification seems to have been lost: whoever ended the task sent it at once, if it could."""
    return bool(notifications(task)) and (task.finished_at is None or task.finished_at + NOTICE_PATIENCE <= now)


def sent(task: Task, now: datetime) -> Task:
    """Return the task with its notification in the hands of Pub/Sub."""
    return _noted(task, sent_at=now)


def delivered(task: Task, event_id: str, now: datetime) -> Task:
    """Return the task with its event received; the same object if that is known, or it is about another event."""
    webhook = task.webhook
    if webhook is None or webhook.event_id != event_id or webhook.state is WebhookState.DELIVERED:
        return task
    return _noted(
        task,
        state=WebhookState.DELIVERED,
        attempts=webhook.attempts + 1,
        sent_at=webhook.sent_at or now,
        last_error=None,
        delivered_at=now,
    )


def not_delivered(task: Task, event_id: str, error: str, now: datetime, *, for_good: bool = False) -> Task:
    """Return the task with a failed delivery noted; the same object if its event is settled or another one."""
    webhook = task.webhook
    if webhook is None or webhook.event_id != event_id or webhook.state is not WebhookState.PENDING:
        return task
    return _noted(
        task,
        state=WebhookState.FAILED if for_good else WebhookState.PENDING,
        attempts=webhook.attempts + 1,
        sent_at=webhook.sent_at or now,
        last_error=error[:MAX_ERROR],
    )


def given_up(task: Task, event_id: str, deliveries: int) -> Task:
    """Return the task with its notification dead-lettered; the same object if its event is settled or another one."""
    webhook = task.webhook
    if webhook is None or webhook.event_id != event_id or webhook.state is not WebhookState.PENDING:
        return task
    words = f"given up after {deliveries} deliveries: {webhook.last_error or 'none was ever tried'}"
    return _noted(task, state=WebhookState.FAILED, last_error=words[:MAX_ERROR])


def _noted(task: Task, **changes: object) -> Task:
    webhook = task.webhook
    return task.model_copy(update={"webhook": webhook.model_copy(update=changes)}) if webhook else task
