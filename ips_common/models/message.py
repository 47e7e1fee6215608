"""Pub/Sub messages: ids only, so that a late or doubled one can do no harm."""

from typing import Literal

from pydantic import Field

from ips_common.models.base import Model


class BatchMessage(Model):
    """Create the Jobs of one batch."""

    kind: Literal["batch"] = "batch"
    task_id: str = Field(min_length=1, max_length=63)
    attempt: int = Field(ge=0)
    batch: int = Field(ge=1)
    request_id: str | None = None


class Kick(Model):
    """There is something to track: a new task, a cancellation, a batch that could not be created."""

    kind: Literal["kick"] = "kick"
    cluster: str
    task_id: str | None = None
    request_id: str | None = None


class Notification(Model):
    """Tell a caller's webhook that a task has ended."""

    kind: Literal["notify"] = "notify"
    task_id: str = Field(min_length=1, max_length=63)
    event_id: str = Field(min_length=1, max_length=128)
    request_id: str | None = None


class Tick(Model):
    """The scheduler's minute: look at every cluster."""

    kind: Literal["tick"] = "tick"


Outgoing = BatchMessage | Kick | Notification
"""What IPS itself publishes."""
