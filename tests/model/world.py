"""All of the product in memory, instance by instance: who runs, which messages are under way, and what time it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import cast

from functions.api.callers import Caller
from functions.api.deps import Deps
from functions.api.handler import create
from functions.batch.handler import JobSettings, create_batch
from functions.notify.handler import notify
from functions.tracker.handler import bury, bury_notification
from functions.tracker.ports import Pace, Ports
from functions.tracker.run import ClusterRun
from ips_common.bus.memory import MemoryBus
from ips_common.cancel import cancel
from ips_common.errors import BusUnavailable, IPSError, PermanentError, StaleVersion
from ips_common.models.message import BatchMessage, Kick, Notification, Outgoing
from ips_common.models.task import Task, TaskSpec, TaskStatus
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import IdempotencyKey, Store
from ips_common.ports.webhook import Reply
from ips_common.store.memory import MemoryStore
from ips_common.webhook.memory import MemoryCourier
from tests.model.actor import FOREVER, Actor, Fault
from tests.model.cluster import TimedCluster
from tests.model.rule import broken
from tests.model.seat import BusSeat, ClusterSeat, ClustersSeat, CourierSeat, StoreSeat

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JOBS = JobSettings(namespace="ips", worker_image="busybox:musl", worker_pull_policy="IfNotPresent", ttl_seconds=60)
MOST_DELIVERIES = 20
LONGEST_BACK_OFF = 60
MOST_TURNS = 500
"""Rounds in which everybody who can go on does, before that counts as going in circles."""


@dataclass(slots=True)
class Letter:
    """A message under way, or in hand."""

    message: Outgoing
    due: datetime
    deliveries: int = 0
    dead: bool = False
    """Whether it is in the dead-letter topic."""


@dataclass(slots=True)
class Request:
    """What a caller wants, perhaps several times, until there is an answer."""

    spec: TaskSpec
    key: IdempotencyKey
    task_id: str | None = None
    """The task, once the caller was told of it."""


@dataclass(slots=True)
class Instance:
    """A running function: what it has in hand, and its watch if it is a tracker."""

    actor: Actor
    letter: Letter | None = None
    request: Request | None = None
    seat: ClusterSeat | None = None
    run: ClusterRun | None = None

    def ready(self, now: datetime) -> bool:
        """Whether it could go on."""
        if self.actor.wakes_at is None or self.actor.wakes_at <= now:
            return True
        watch = self.seat.last_watch if self.seat else None
        return bool(self.run and self.run.kicked) or bool(watch and watch.pending)


class Postman(MemoryCourier):
    """Webhooks, whose receivers may be away."""

    away = False
    told: set[str]

    def __init__(self) -> None:
        super().__init__()
        self.told = set()

    def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
        """See `Courier.deliver`."""
        if self.away:
            return Reply(503, "the receiver answered 503")
        self.told.add(event_id)
        return super().deliver(url, event_id, body, at)


@dataclass
class World:
    """The outside world and every function instance in it."""

    nodes: int = 4
    slots: int = 2
    skew: float = 0
    """Seconds by which the clock of every instance is ahead that is not told otherwise."""
    now: datetime = START
    instances: list[Instance] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    """Tasks whose cancelling was acknowledged."""
    wrong: list[str] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.slots)
        self.bus = MemoryBus()
        self.cluster = TimedCluster(self.nodes, lambda: self.now)
        self.postman = Postman()
        self.kubelets_work = True
        """Whether Jobs move on by themselves while the world runs."""
        self.next_tick = START + MINUTE
        self._outages: dict[tuple[str, str], tuple[datetime, object]] = {}
        self._known: dict[str, Task] = {}
        self._versions: dict[str, object] = {}
        self._serial = 0

    # --- instances

    def ask(self, fields: Mapping[str, object], *, skew: float | None = None) -> Instance:
        """Let a caller ask for a task."""
        self._serial += 1
        spec = TaskSpec.model_validate({"images": ["nginx:1.27"], **fields})
        request = Request(spec, IdempotencyKey(f"key-{self._serial}", "fingerprint"))
        self.requests.append(request)
        return self.ask_again(request, skew=skew)

    def ask_again(self, request: Request, *, skew: float | None = None) -> Instance:
        """Let a caller ask again, who had no answer, or lost it."""
        self._serial += 1
        serial = self._serial
        caller = Caller(name="explorer", may_write=True)

        def body(actor: Actor) -> None:
            ports = self._ports(actor, instance, skew)
            deps = Deps(
                store=ports.store,
                bus=ports.bus,
                clusters=ports.clusters,
                max_pending_tasks=100,
                now=ports.clock,
                random_hex=lambda: f"{serial:08x}",
            )
            made = create(request.spec, key=request.key, caller=caller, request_id=None, deps=deps)
            if request.task_id not in {None, made.task.task_id}:
                self.wrong.append("the same request made two tasks")
            request.task_id = made.task.task_id

        instance = self._begin("create", body, request=request)
        return instance

    def cancel(self, task_id: str, *, skew: float | None = None) -> Instance:
        """Let a caller cancel a task."""

        def body(actor: Actor) -> None:
            ports = self._ports(actor, instance, skew)
            cancel(task_id, store=ports.store, bus=ports.bus, clusters=ports.clusters, now=ports.clock())
            self.cancelled.add(task_id)

        instance = self._begin("cancel", body)
        return instance

    def deliver(self, letter: Letter, *, skew: float | None = None) -> Instance | None:
        """Let a message reach its function; None if that only wakes the tracker."""
        self.letters.remove(letter)
        message = letter.message
        if isinstance(message, Kick):
            return self.kick(letter, skew=skew)
        name = f"bury {message.kind}" if letter.dead else f"{message.kind}"
        instance = self._begin(name, lambda actor: self._handle(actor, instance, letter, skew), letter=letter)
        return instance

    def kick(self, letter: Letter | None = None, *, skew: float | None = None) -> Instance | None:
        """Wake the tracker as a kick or the scheduler's tick does; None if one is there already."""
        task_id = letter.message.task_id if letter and isinstance(letter.message, Kick) else None
        for instance in self.instances:
            if instance.run and not instance.actor.done:
                instance.run.wake(task_id)
                return None
        return self.track(letter, skew=skew)

    def track(self, letter: Letter | None = None, *, seconds: float = 540, skew: float | None = None) -> Instance:
        """Begin a tracker, whether there is one already or not."""
        instance = self._begin("track", lambda actor: self._track(actor, instance, seconds, skew), letter=letter)
        return instance

    def _handle(self, actor: Actor, instance: Instance, letter: Letter, skew: float | None) -> None:
        ports = self._ports(actor, instance, skew)
        match letter.message:
            case BatchMessage() as message if letter.dead:
                if kick := bury(message, letter.deliveries, store=ports.store):
                    self.letters.append(Letter(kick, self.now))
            case BatchMessage() as message:
                create_batch(
                    message,
                    store=ports.store,
                    bus=ports.bus,
                    clusters=ports.clusters,
                    settings=JOBS,
                    seconds_left=lambda: 60.0,
                )
            case Notification() as message if letter.dead:
                bury_notification(message, letter.deliveries, store=ports.store)
            case Notification() as message:
                courier = CourierSeat(actor, self.postman)
                notify(message, store=ports.store, courier=courier, source="/ips", clock=ports.clock)

    def _track(self, actor: Actor, instance: Instance, seconds: float, skew: float | None) -> None:
        ports = self._ports(actor, instance, skew)
        until = ports.clock() + timedelta(seconds=seconds)

        def wait(pause: float) -> None:
            actor.idle(self.now + timedelta(seconds=pause))

        while True:
            run = instance.run = ClusterRun("default", ports, Pace(), Event(), wait=wait)
            left = run.track(until)
            if left:
                try:
                    ports.bus.publish([Kick(cluster="default")])
                except BusUnavailable:
                    return
            if left or not run.kicked:
                return

    def _ports(self, actor: Actor, instance: Instance, skew: float | None) -> Ports:
        ahead = timedelta(seconds=self.skew if skew is None else skew)
        store = StoreSeat(actor, self.store, lambda: self._check_writes(actor.name))
        instance.seat = seat = ClusterSeat(actor, self.cluster, lambda: self.now, self._check_job)
        return Ports(
            cast("Store", store),
            cast("Bus", BusSeat(actor, self.bus)),
            cast("Clusters", ClustersSeat(actor, seat, "default")),
            lambda: self.now + ahead,
        )

    def _begin(
        self,
        name: str,
        body: Callable[[Actor], object],
        *,
        letter: Letter | None = None,
        request: Request | None = None,
    ) -> Instance:
        instance = Instance(Actor(name, body), letter, request)
        self.instances.append(instance)
        return instance

    def advance(self, instance: Instance, calls: int = FOREVER, fault: Fault = Fault.NONE) -> None:
        """Let an instance make some calls, and meet a fault at the next; see `Actor.advance`."""
        before = instance.actor.calls
        instance.actor.advance(calls, fault)
        self.calls += instance.actor.calls - before
        self.letters += [Letter(message, self.now) for message in self.bus.published]
        self.bus.published.clear()
        if instance.actor.done:
            self.instances.remove(instance)
            self._conclude(instance)

    def kill(self, instance: Instance) -> None:
        """Let an instance die where it is."""
        instance.actor.kill()
        self.instances.remove(instance)
        self._conclude(instance)

    def _conclude(self, instance: Instance) -> None:
        actor, error = instance.actor, instance.actor.error
        if error and (not isinstance(error, IPSError) or isinstance(error, StaleVersion)):
            self.wrong.append(f"{actor.name} ended with {error!r}")
        if instance.letter and (actor.crashed or (error and not isinstance(error, PermanentError))):
            letter = instance.letter
            letter.deliveries += not letter.dead
            letter.due = self.now + timedelta(seconds=min(2 ** min(letter.deliveries, 6), LONGEST_BACK_OFF))
            self.letters.append(letter)

    # --- time

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
        for instance in self.instances:
            if instance.seat and instance.seat.last_watch:
                instance.seat.last_watch.pods_late = False

    def _heal(self, place: tuple[str, str]) -> None:
        part, attribute = place
        setattr(getattr(self, part), attribute, self._outages.pop(place)[1])

    def run(self, seconds: float, *, beat: float = 1.0, done: Callable[[], bool] = lambda: False) -> None:
        """Let everything work as it should for some time, or until `done`; nobody waits for less than `beat` seconds.

        What an instance is held at goes on, messages are delivered, the scheduler ticks, kubelets pull.
        """
        end = self.now + timedelta(seconds=seconds)
        while True:
            self._let_work()
            if self.now >= end or done():
                return
            self._pass_to(min(end, self._next_event(timedelta(seconds=beat))))

    def _let_work(self) -> None:
        for _ in range(MOST_TURNS):
            if self.kubelets_work:
                self.cluster.work()
            if self.next_tick <= self.now:
                self.next_tick = self.now + MINUTE
                self.kick()
            ready = [instance for instance in self.instances if instance.ready(self.now)]
            due = [letter for letter in self.letters if letter.due <= self.now]
            if not ready and not due:
                return
            for letter in due:
                letter.dead = letter.dead or self._is_dead(letter)
                self.deliver(letter)
            for instance in ready:
                self.advance(instance)
        self.wrong.append(f"going in circles: {[instance.actor.name for instance in self.instances]}")

    @staticmethod
    def _is_dead(letter: Letter) -> bool:
        return letter.deliveries >= MOST_DELIVERIES and not isinstance(letter.message, Kick)

    def _next_event(self, beat: timedelta) -> datetime:
        times = [self.next_tick, *(letter.due for letter in self.letters), *(at for at, _ in self._outages.values())]
        times += [max(at, self.now + beat) for instance in self.instances if (at := instance.actor.wakes_at)]
        if change := self.cluster.next_change():
            times.append(max(change, self.now + timedelta(seconds=1)))
        return min(time for time in times if time > self.now)

    # --- what was written

    def tasks(self) -> list[Task]:
        """Return all tasks as they are stored, oldest first."""
        return [stored.task for stored in self.store._data.tasks.values()]

    def _check_writes(self, who: str) -> None:
        for task_id, stored in self.store._data.tasks.items():
            if self._versions.get(task_id) == stored.version:
                continue
            shards = [item.shard for _, item in sorted(self.store._data.shards.get(task_id, {}).items())]
            faults = broken(self._known.get(task_id), stored.task, shards)
            self.wrong += [f"{who} wrote {task_id}: {fault}" for fault in faults]
            self._versions[task_id], self._known[task_id] = stored.version, stored.task
        running = {task.task_id for task in self._known.values() if task.status is TaskStatus.RUNNING}
        slots = self.store.slots("default")
        if slots != running or len(slots) > self.slots:
            self.wrong.append(f"{who}: slots are held by {sorted(slots)}, running are {sorted(running)}")

    def _check_job(self) -> None:
        key = self.cluster.created[-1]
        self.cluster.tried.add(key)
        task = self._known[key.task_id]
        if (key.attempt, key.batch) > (task.attempt, task.opened):
            self.wrong.append(f"a Job of {key} was created while batch {task.opened} was the last one opened")

    def judge(self) -> None:
        """Fail if anything went wrong so far."""
        assert not self.wrong, self.wrong[0]


def copy_of(letter: Letter) -> Letter:
    """Return the letter once more."""
    return replace(letter)
