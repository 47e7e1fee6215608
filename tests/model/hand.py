"""What functions do with a message that they have in hand."""

from typing import TYPE_CHECKING

from functions.batch.handler import JobSettings, create_batch, leaving_to_tracker
from functions.notify.handler import notify
from functions.release.deps import Deps
from functions.release.handler import handle as release
from functions.tracker.handler import bury, bury_notification, handle
from functions.tracker.ports import Ports
from ips_common.cluster.memory import MemoryClusters
from ips_common.models.message import BatchMessage, Kick, Notification, Tick
from ips_common.releases.memory import MemoryReleases
from ips_common.rules import ReleaseRule
from tests.model.actor import Actor
from tests.model.letter import RELEASED, Announcement, Letter
from tests.model.process import Process
from tests.model.seat import CourierSeat

if TYPE_CHECKING:
    from tests.model.world import World

JOBS = JobSettings(namespace="ips", worker_image="busybox:musl", worker_pull_policy="IfNotPresent", ttl_seconds=60)
RULES = (ReleaseRule.model_validate({"name": "all", "images": [RELEASED], "batchSize": 2, "successThreshold": 0.0}),)


class Hand:
    """Handles messages; remembers what was given up, and which releases were taken."""

    def __init__(self, world: "World") -> None:
        self.buried: set[str] = set()
        """Webhook events that were given up."""
        self.released: set[str] = set()
        """Digests whose announcement was acknowledged."""
        self._world = world

    def take(self, letter: Letter, ports: Ports, actor: Actor) -> None:
        """Do what a message asks for."""
        match letter.message:
            case BatchMessage() as message if letter.dead:
                if kick := bury(message, letter.deliveries, store=ports.store):
                    self._world.letters.append(Letter(kick, self._world.now))
            case BatchMessage() as message:
                self._create(message, letter, ports)
            case Notification() as message if letter.dead:
                self.buried.add(message.event_id)
                bury_notification(message, letter.deliveries, store=ports.store)
            case Notification() as message:
                courier = CourierSeat(actor, self._world.postman)
                notify(message, store=ports.store, courier=courier, source="/ips", clock=ports.clock)
            case Announcement() as message:
                self._release(message, ports)

    def _create(self, message: BatchMessage, letter: Letter, ports: Ports) -> None:
        with leaving_to_tracker(message, letter.published, store=ports.store, clock=lambda: self._world.now):
            create_batch(
                message,
                store=ports.store,
                bus=ports.bus,
                clusters=ports.clusters,
                settings=JOBS,
                seconds_left=lambda: 60.0,
            )

    def _release(self, message: Announcement, ports: Ports) -> None:
        digits = self._world.digits()
        deps = Deps(
            store=ports.store,
            bus=ports.bus,
            clusters=ports.clusters,
            releases=MemoryReleases(),
            rules=RULES,
            max_pending_tasks=100,
            now=ports.clock,
            random_hex=lambda: digits,
        )
        made = release(message.delivery(), deps)
        if len(made) != 1:
            self._world.wrong.append(f"a release made {len(made)} tasks")
        self.released.add(message.digest)

    def visit(self, process: Process, letter: Letter | None, seconds: float) -> None:
        """Hand a kick, or the scheduler's tick, to a process of the tracker."""
        message = letter.message if letter and isinstance(letter.message, Kick) else Tick()
        handle(message, runner=process.runner, clusters=MemoryClusters(self._world.cluster), seconds=seconds)
