"""Calling webhooks: whoever wants to hear of a task's end is somebody else's server."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one call.

    `status` is the HTTP status, 0 if there was none. `problem` says why the event was not delivered and is empty if it
    was; it never quotes the URL, the event or what the receiver sent.
    """

    status: int
    problem: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the receiver took the event."""
        return not self.problem


class Courier(Protocol):
    """Takes events to webhooks."""

    def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
        """Post an event, signed as of `at`; returns within a bounded time whatever the receiver does, never raises."""
        ...
