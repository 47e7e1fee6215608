"""What is under way between functions, and between callers and them."""

import json
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ips_common.bus.envelope import RawDelivery
from ips_common.models.message import Kick, Outgoing
from ips_common.models.task import TaskSpec
from ips_common.ports.store import IdempotencyKey

MOST_DELIVERIES = 8
LONGEST_BACK_OFF = 10
"""Seconds between two deliveries at most; fewer and shorter than Pub/Sub's, so that messages die while it matters."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A release event: `digest` of an image was pushed; two of the same image differ in their tag."""

    digest: str
    tag: str = ""
    kind: str = "release"

    def delivery(self) -> RawDelivery:
        """Return the event as the function gets to see it."""
        event = {"action": "INSERT", "digest": f"{RELEASED}@{self.digest}"}
        if self.tag:
            event["tag"] = f"{RELEASED}:{self.tag}"
        return RawDelivery("gcr", json.dumps(event).encode(), {}, f"{self.digest[-4:]}{self.tag}")


RELEASED = "registry.example/team/app"
"""The image whose releases are announced."""


@dataclass(slots=True)
class Letter:
    """A message under way, or in hand."""

    message: Outgoing | Announcement
    due: datetime
    deliveries: int = 0
    dead: bool = False
    """Whether it is in the dead-letter topic."""
    published: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.published = self.due

    @property
    def exhausted(self) -> bool:
        """Whether it is to be delivered no more."""
        return self.deliveries >= MOST_DELIVERIES and not isinstance(self.message, Kick | Announcement)

    def refused(self, now: datetime) -> "Letter":
        """Return the letter as it waits for its next delivery."""
        self.deliveries += not self.dead
        self.due = now + timedelta(seconds=min(2 ** min(self.deliveries, 6), LONGEST_BACK_OFF))
        return self


def copy_of(letter: Letter) -> Letter:
    """Return the letter once more."""
    return copy(letter)


@dataclass(slots=True)
class Request:
    """What a caller wants, perhaps several times, until there is an answer."""

    spec: TaskSpec
    key: IdempotencyKey
    task_id: str | None = None
    """The task, once the caller was told of it."""
