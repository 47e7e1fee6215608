"""Telling a webhook that a task has ended.

At least once: the event is posted first and noted then, so when the function dies in between it is posted again, under
the same id.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

from functions.notify.event import encode
from ips_common import logs
from ips_common.errors import TemporaryError
from ips_common.finishing import delivered, not_delivered
from ips_common.models.message import Notification
from ips_common.models.task import Task
from ips_common.models.webhook import WebhookState
from ips_common.ports.store import Store
from ips_common.ports.webhook import Courier

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a notification that needs no further delivery."""

    DELIVERED = "delivered"
    UNWANTED = "unwanted"  # the receiver wants no more events
    OUTDATED = "outdated"  # the event is delivered, or given up, already


def notify(
    message: Notification, *, store: Store, courier: Courier, source: str, clock: Callable[[], datetime]
) -> Outcome:
    """Deliver the event that `message` names, unless that was done before.

    Args:
        message: what Pub/Sub delivered.
        store: where the task is, and where is noted how the delivery went.
        courier: calls the webhook.
        source: the event's `source`, naming this installation.
        clock: the time.

    Raises:
        TaskNotFound: the message names no task.
        TemporaryError: the event could not be delivered now; deliver the message again.
    """
    task = store.task(message.task_id).task
    with logs.bind(cluster=task.spec.cluster):
        return _tell(task, message, store, courier, source, clock)


def _tell(
    task: Task, message: Notification, store: Store, courier: Courier, source: str, clock: Callable[[], datetime]
) -> Outcome:
    webhook, url = task.webhook, task.spec.webhook_url
    if webhook is None or url is None or webhook.event_id != message.event_id:
        logger.warning("notification is not about this task's end")
        return Outcome.OUTDATED
    if webhook.state is not WebhookState.PENDING:
        logger.info("webhook is settled already", extra={"state": webhook.state.value})
        return Outcome.OUTDATED
    reply = courier.deliver(url, webhook.event_id, encode(task, webhook, source), clock())
    now = clock()
    if reply.delivered:
        store.transition(task.task_id, lambda task: delivered(task, message.event_id, now))
        logger.info("webhook delivered", extra={"status": reply.status, "attempt": webhook.attempts + 1})
        return Outcome.DELIVERED
    unwanted = reply.status == HTTPStatus.GONE
    store.transition(
        task.task_id,
        lambda task: not_delivered(task, message.event_id, reply.problem, now, for_good=unwanted),
    )
    if unwanted:
        logger.warning("webhook not delivered, the receiver is gone for good")
        return Outcome.UNWANTED
    raise TemporaryError(f"webhook not delivered: {reply.problem}")
