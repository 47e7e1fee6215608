"""The outside world: the store, the bus, the cluster, receivers of webhooks, time, and what of it is out of order."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from functions.tracker.ports import Ports
from ips_common.bus.memory import MemoryBus
from ips_common.models.task import Task
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store
from ips_common.store.memory import MemoryStore
from tests.model.actor import Doer
from tests.model.cluster import TimedCluster
from tests.model.postman import Postman
from tests.model.process import LEASE_SECONDS
from tests.model.seat import BusSeat, ClusterSeat, ClustersSeat, StoreSeat
from tests.model.warden import CLUSTER, Warden

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Outside:
    """Everything but the function instances.

    Args:
        nodes: how many there are.
        slots: how many tasks may run at once.
        skew: seconds by which the clock of every instance is ahead that is not told otherwise.
        few: whether shards hold few nodes.
    """

    nodes: int = 4
    slots: int = 2
    skew: float = 0
    few: bool = False
    now: datetime = START

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.slots)
        self.bus = MemoryBus()
        self.cluster = TimedCluster(self.nodes, lambda: self.now)
        self.postman = Postman()
        self.warden = Warden(self.store, self.cluster, self.slots, LEASE_SECONDS, lambda: self.now)
        self.wrong = self.postman.wrong = self.warden.wrong
        self.store_back_at = START
        """When the store was away for the last time."""
        self._outages: dict[tuple[str, str], tuple[datetime, object]] = {}

    def ports(self, doer: Doer, skew: float | None = None) -> tuple[Ports, ClusterSeat]:
        """Return the outside world as an instance sees it."""
        ahead = timedelta(seconds=self.skew if skew is None else skew)
        store = StoreSeat(doer, self.store, self.warden, few=self.few)
        seat = ClusterSeat(doer, self.cluster, lambda: self.now, self.warden.check_made)
        ports = Ports(
            cast("Store", store),
            cast("Bus", BusSeat(doer, self.bus)),
            cast("Clusters", ClustersSeat(doer, seat, CLUSTER)),
            lambda: self.now + ahead,
        )
        return ports, seat

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which no instance gets to run."""
        self._pass_to(self.now + timedelta(seconds=seconds))

    def _pass_to(self, now: datetime) -> None:
        self.now = now
        for place, (until, _) in list(self._outages.items()):
            if until <= now:
                self._heal(place)
        self.cluster.pass_time()

    def break_for(self, seconds: float, outage: tuple[str, str, object]) -> None:
        """Set an attribute of a part of the outside world, (part, attribute, value), for some time."""
        part, attribute, value = outage
        before = self._outages.get((part, attribute), (self.now, getattr(getattr(self, part), attribute)))[1]
        self._outages[part, attribute] = (self.now + timedelta(seconds=seconds), before)
        setattr(getattr(self, part), attribute, value)

    def heal(self) -> None:
        """End every outage; broken images, stuck kubelets and lost nodes stay as they are."""
        for place in list(self._outages):
            self._heal(place)

    def _heal(self, place: tuple[str, str]) -> None:
        part, attribute = place
        if part == "store":
            self.store_back_at = self.now
        setattr(getattr(self, part), attribute, self._outages.pop(place)[1])

    def tasks(self) -> list[Task]:
        """Return all tasks as they are stored, oldest first."""
        return [stored.task for stored in self.store._data.tasks.values()]

    def judge(self) -> None:
        """Fail if anything went wrong so far."""
        assert not self.wrong, self.wrong[0]
