"""What a webhook is sent: a CloudEvent that holds the finished task.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from typing import Any, Literal

from ips_common.models.base import UtcDatetime
from ips_common.models.task import Task
from ips_common.models.view import TaskView, View
from ips_common.models.webhook import Webhook

_APART = {"webhook"}
"""Not part of the event: it changes with every delivery, and an event with the same id must stay the same."""


class TaskEvent(View):
    """A task has ended."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    """The task's id."""
    time: UtcDatetime
    datacontenttype: Literal["application/json"]
    data: dict[str, Any]
    """The task as the API shows it, without its nodes."""


def encode(task: Task, webhook: Webhook, source: str) -> bytes:
    """Return the event of a finished task as JSON."""
    ended = task.finished_at or task.created_at
    event = TaskEvent.model_construct(
        specversion="1.0",
        id=webhook.event_id,
        source=source,
        type=f"ips.task.{task.status.value}",
        subject=task.task_id,
        time=ended,
        datacontenttype="application/json",
        data=TaskView.of(task, ended).model_dump(mode="json", by_alias=True, exclude=_APART),
    )
    return event.model_dump_json(by_alias=True).encode()
