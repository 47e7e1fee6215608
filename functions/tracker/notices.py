"""Notifications that whoever ended a task could not send, or died before sending."""

import logging

from functions.tracker.ports import Ports
from ips_common.errors import IPSError, StaleVersion
from ips_common.finishing import notifications, overdue, sent
from ips_common.ports.store import StoredTask

logger = logging.getLogger(__name__)


def send_overdue(stored: StoredTask, ports: Ports) -> StoredTask:
    """Send the notification of a finished task if nobody seems to have; returns the task as it stands afterwards."""
    now = ports.clock()
    if not overdue(stored.task, now):
        return stored
    try:
        ports.bus.publish(notifications(stored.task))
        return ports.store.save(stored, sent(stored.task, now))[0]
    except StaleVersion:
        return ports.store.task(stored.task.task_id)
    except IPSError as error:
        logger.warning("notification not sent yet", extra={"error": str(error)})
        return stored
