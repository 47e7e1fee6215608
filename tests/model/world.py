"""All of the product in memory, instance by instance: who runs, which messages are under way, and what time it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event

from functions.api.callers import Caller
from functions.api.deps import Deps
from functions.api.handler import create
from functions.tracker.ports import Pace, Ports
from functions.tracker.run import ClusterRun
from ips_common.cancel import cancel
from ips_common.errors import BusUnavailable, IPSError, PermanentError, StaleVersion
from ips_common.models.message import Kick
from ips_common.models.task import TaskSpec
from ips_common.ports.store import IdempotencyKey
from tests.model.actor import FOREVER, Actor, Fault
from tests.model.hand import Hand
from tests.model.instance import Instance
from tests.model.letter import Announcement, Letter, Request
from tests.model.outside import START, Outside
from tests.model.process import Process
from tests.model.seat import ClusterSeat
from tests.model.warden import CLUSTER

MINUTE = timedelta(minutes=1)
MOST_TURNS = 500
"""Rounds in which everybody who can go on does, before that counts as going in circles."""
ONE_TOO_MANY = timedelta(seconds=60)
"""How long two trackers may track at once where nothing goes wrong: until one has noticed that its lease is lost."""


@dataclass
class World(Outside):
    """The outside world and every function instance in it.

    Args:
        leases: whether trackers are whole processes that keep each other out by a lease; otherwise they are only what a
            process does for a cluster, so that several work against each other.
    """

    leases: bool = False
    instances: list[Instance] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    """Tasks whose cancelling was acknowledged."""
    calls: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kubelets_work = True
        """Whether Jobs move on by themselves while the world runs."""
        self.next_tick = START + MINUTE
        self.hand = Hand(self)
        self.traps: dict[str, Fault] = {}
        """What the next call of a name meets, whoever makes it."""
        self._seats: dict[Process, ClusterSeat] = {}
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
        digits = self.digits()
        caller = Caller(name="explorer", may_write=True)

        def body(actor: Actor) -> None:
            ports = self._ports(actor, instance, skew)
            deps = Deps(
                store=ports.store,
                bus=ports.bus,
                clusters=ports.clusters,
                max_pending_tasks=100,
                now=ports.clock,
                random_hex=lambda: digits,
            )
            made = create(request.spec, key=request.key, caller=caller, request_id=None, deps=deps)
            if request.task_id not in {None, made.task.task_id}:
                self.wrong.append("the same request made two tasks")
            request.task_id = made.task.task_id

        instance = self._begin("create", body, request=request)
        return instance

    def digits(self) -> str:
        """Return digits that no other task of the same second has."""
        self._serial += 1
        return f"{self._serial:08x}"

    def cancel(self, task_id: str, *, skew: float | None = None) -> Instance:
        """Let a caller cancel a task."""

        def body(actor: Actor) -> None:
            ports = self._ports(actor, instance, skew)
            cancel(task_id, store=ports.store, bus=ports.bus, clusters=ports.clusters, now=ports.clock())
            self.cancelled.add(task_id)

        instance = self._begin("cancel", body)
        return instance

    def announce(self, digest: str, tag: str = "") -> None:
        """Let an image be released."""
        self.letters.append(Letter(Announcement(digest, tag), self.now))

    def deliver(self, letter: Letter, *, skew: float | None = None) -> Instance | None:
        """Let a message reach its function; None if that only wakes the tracker."""
        self.letters.remove(letter)
        if isinstance(letter.message, Kick):
            return self.kick(letter, skew=skew)
        name = f"bury {letter.message.kind}" if letter.dead else f"{letter.message.kind}"

        def body(actor: Actor) -> None:
            self.hand.take(letter, self._ports(actor, instance, skew), actor)

        instance = self._begin(name, body, letter=letter)
        return instance

    def kick(self, letter: Letter | None = None, *, skew: float | None = None) -> Instance | None:
        """Wake the tracker as a kick or the scheduler's tick does; None if one is there already."""
        if self.leases:
            there = next((process for process in self.processes if not process.ending), None)
            return self.visit(there or self.open_process(skew), letter)
        task_id = letter.message.task_id if letter and isinstance(letter.message, Kick) else None
        for instance in self.instances:
            if instance.run and not instance.actor.done:
                instance.run.wake(task_id)
                return None
        return self.track(letter, skew=skew)

    def track(self, letter: Letter | None = None, *, seconds: float = 540, skew: float | None = None) -> Instance:
        """Begin a tracker, whether there is one already or not."""
        if self.leases:
            return self.visit(self.open_process(skew), letter, seconds=seconds)
        instance = self._begin("track", lambda actor: self._track(actor, instance, seconds, skew), letter=letter)
        return instance

    def _track(self, actor: Actor, instance: Instance, seconds: float, skew: float | None) -> None:
        ports = self._ports(actor, instance, skew)
        until = ports.clock() + timedelta(seconds=seconds)

        def wait(pause: float) -> None:
            actor.idle(self.now + timedelta(seconds=pause), lambda: run.kicked)

        while True:
            run = instance.run = ClusterRun(CLUSTER, ports, Pace(), Event(), wait=wait)
            left = run.track(until)
            if left:
                try:
                    ports.bus.publish([Kick(cluster=CLUSTER)])
                except BusUnavailable:
                    return
            if left or not run.kicked:
                return

    def open_process(self, skew: float | None = None) -> Process:
        """Begin a process of the tracker, whether there is one already or not."""

        def ports(process: Process) -> Ports:
            ports, self._seats[process] = self.ports(process, skew)
            return ports

        self.processes.append(Process(self, ports, lambda holder: self.warden.check_holder("a tracker", holder)))
        return self.processes[-1]

    def visit(self, process: Process, letter: Letter | None = None, *, seconds: float = 540) -> Instance:
        """Let a kick or a tick reach a process."""
        return self._begin("track", lambda _: self.hand.visit(process, letter, seconds), letter=letter, process=process)

    def begin_thread(self, process: Process, name: str, body: Callable[[], object]) -> Actor:
        """See `Home.begin_thread`."""
        return self._begin(name, lambda _: body(), process=process).actor

    def _ports(self, actor: Actor, instance: Instance, skew: float | None) -> Ports:
        ports, instance.seat = self.ports(actor, skew)
        return ports

    def _begin(
        self,
        name: str,
        body: Callable[[Actor], object],
        *,
        letter: Letter | None = None,
        request: Request | None = None,
        process: Process | None = None,
    ) -> Instance:
        seat = self._seats[process] if process else None
        instance = Instance(Actor(name, body, process), letter, request, seat, process=process)
        instance.actor.traps = self.traps
        self.instances.append(instance)
        return instance

    def advance(self, instance: Instance, calls: int = FOREVER, fault: Fault = Fault.NONE, stop_at: str = "") -> None:
        """Let an instance make some calls, and meet a fault at the next; see `Actor.advance`."""
        if instance.actor.done:
            return
        before = instance.actor.calls
        instance.hangs = False
        instance.actor.advance(calls, fault, stop_at)
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
        actor, error, process = instance.actor, instance.actor.error, instance.process
        if error and (
            not isinstance(error, IPSError) or isinstance(error, StaleVersion) or "in the tracking of" in str(error)
        ):
            self.wrong.append(f"{actor.name} ended with {error!r}")
        if instance.letter and (actor.crashed or (error and not isinstance(error, PermanentError))):
            self.letters.append(instance.letter.refused(self.now))
        if process:
            others = [other for other in self.instances if other.process is process]
            if actor.crashed:
                for other in others:
                    self.kill(other) if other in self.instances else None
            if not actor.crashed and not others and self._is_calm(process):
                self.warden.check_released(process.holder)
            if process in self.processes and (actor.crashed or (process.ending and not others)):
                self.processes.remove(process)

    def _is_calm(self, process: Process) -> bool:
        """Whether nothing kept a process from giving its lease back."""
        return not process.hurt and not self.store.down and self.now > self.store_back_at + MINUTE

    # --- time

    def heal(self) -> None:
        """See `Outside.heal`."""
        super().heal()
        self.traps.clear()
        for instance in self.instances:
            if instance.seat and instance.seat.last_watch:
                instance.seat.last_watch.pods_late = False

    def run(self, seconds: float, *, beat: float = 1.0, done: Callable[[], bool] = lambda: False) -> None:
        """Let everything work as it should for some time, or until `done`; nobody waits for less than `beat` seconds.

        What an instance is held at goes on, messages are delivered, the scheduler ticks, kubelets pull.
        """
        began, end = self.now, self.now + timedelta(seconds=seconds)
        while True:
            self._let_work()
            if self.now >= began + ONE_TOO_MANY and sum(process.tracking for process in self.processes) > 1:
                self.wrong.append("two trackers go on tracking the same cluster")
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
                letter.dead = letter.dead or letter.exhausted
                self.deliver(letter)
            for instance in ready:
                if instance in self.instances:
                    self.advance(instance)
        self.wrong.append(f"going in circles: {[instance.actor.name for instance in self.instances]}")

    def _next_event(self, beat: timedelta) -> datetime:
        times = [self.next_tick, *(letter.due for letter in self.letters), *(at for at, _ in self._outages.values())]
        times += [max(at, self.now + beat) for instance in self.instances if (at := instance.wakes_at)]
        if change := self.cluster.next_change():
            times.append(max(change, self.now + timedelta(seconds=1)))
        return min(time for time in times if time > self.now)
