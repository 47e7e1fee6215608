"""A running function, as the world keeps it."""

from dataclasses import dataclass
from datetime import datetime

from functions.tracker.run import ClusterRun
from tests.model.actor import Actor
from tests.model.letter import Letter, Request
from tests.model.process import Process
from tests.model.seat import ClusterSeat


@dataclass(slots=True)
class Instance:
    """A running function, or a thread of the tracker: what it has in hand, and its watch if it is a tracker."""

    actor: Actor
    letter: Letter | None = None
    request: Request | None = None
    seat: ClusterSeat | None = None
    run: ClusterRun | None = None
    process: Process | None = None
    hangs: bool = False
    """Whether it stays where it is although the world runs."""

    @property
    def wakes_at(self) -> datetime | None:
        """When it would go on by itself; None if it would not."""
        return None if self.hangs else self.actor.wakes_at

    def ready(self, now: datetime) -> bool:
        """Whether it could go on."""
        actor = self.actor
        if self.hangs:
            return False
        return actor.wakes_at is None or actor.wakes_at <= now or actor.ready()
