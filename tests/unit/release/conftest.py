"""The function in front of a store, a bus and a cluster in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from functions.release.deps import Deps
from functions.release.handler import handle
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.models.task import Task
from ips_common.releases.memory import MemoryReleases
from ips_common.rules import ReleaseRule
from ips_common.store.memory import MemoryStore
from tests.unit.release.events import Message

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RULES = ({"name": "all", "images": ["**"], "priority": 7},)


@dataclass
class Desk:
    """Where release events come in, and what comes of them."""

    rules: Sequence[dict[str, Any]] = RULES
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    cluster: MemoryCluster = field(default_factory=lambda: MemoryCluster("default", 3))
    east: MemoryCluster = field(default_factory=lambda: MemoryCluster("east", 2))
    releases: MemoryReleases = field(default_factory=MemoryReleases)
    deps: dict[str, Any] = field(default_factory=dict)
    now: datetime = START

    def __post_init__(self) -> None:
        self._serial = count(1)

    def receive(self, message: Message, message_id: str = "1") -> Sequence[Task]:
        """Have an event delivered."""
        self.now += timedelta(seconds=1)
        given: dict[str, Any] = {
            "store": self.store,
            "bus": self.bus,
            "clusters": MemoryClusters(self.cluster, self.east),
            "releases": self.releases,
            "rules": [ReleaseRule.model_validate(rule) for rule in self.rules],
            "max_pending_tasks": 100,
            "now": lambda: self.now,
            "random_hex": lambda: f"{next(self._serial):08x}",
        }
        return handle(message.delivery(message_id), Deps(**{**given, **self.deps}))

    @property
    def tasks(self) -> list[Task]:
        """All tasks there are, oldest first."""
        return list(reversed(self.store.list_tasks(limit=100).tasks))


@pytest.fixture
def desk() -> Callable[..., Desk]:
    return Desk
