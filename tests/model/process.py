"""A process of the tracker function: its runner, lease and threads, all in the time of the model.

Waiting and threads are built into these modules, so the model runs copies of them in which both are its own: every
thread is an actor of the process, and waiting for something leaves the rest of the world the time for it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec, module_from_spec
from threading import Event
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any, Protocol, Self

from functions.tracker import run as tracking
from functions.tracker.ports import Pace, Ports
from tests.model.actor import Actor, Fault, here, never

LEASE_SECONDS = 15.0
FOREVER = timedelta(days=1)
EPOCH = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


class Home(Protocol):
    """What a process needs of its world."""

    now: datetime

    def begin_thread(self, process: "Process", name: str, body: Callable[[], object]) -> Actor:
        """Let an actor begin in the process."""
        ...


class Process:
    """One process of the tracker function; `Actor.process` of its threads."""

    def __init__(self, home: Home, ports: Callable[["Process"], Ports], check: Callable[[str], None]) -> None:
        self.home = home
        self.ending = False
        """Whether it was told to end."""
        self.tracking = False
        """Whether it tracks at the moment."""
        self.hurt = False
        """Whether a call of its ever failed."""
        self.run: tracking.ClusterRun | None = None
        self.check_holder = check
        self.runner = _runner.Runner(ports(self), Pace(), LEASE_SECONDS, lambda: self.ending)

    @property
    def holder(self) -> str:
        """What it signs its lease with."""
        return str(self.runner._holder)

    @property
    def name(self) -> str:
        """See `Actor.name`."""
        return here().name

    def call(self, what: str) -> Fault:
        """See `Actor.call`: whichever thread it is that calls."""
        fault = here().call(what)
        self.hurt = self.hurt or fault is not Fault.NONE
        return fault

    def idle(self, until: datetime, ready: Callable[[], bool] = never) -> None:
        """See `Actor.idle`."""
        here().idle(until, ready)


def _process() -> Process:
    process = here().process
    assert isinstance(process, Process)
    return process


def _wait(seconds: float | None, ready: Callable[[], bool]) -> None:
    if not ready():
        here().idle(_process().home.now + (FOREVER if seconds is None else timedelta(seconds=seconds)), ready)


class Flag(Event):
    """An `Event`."""

    def wait(self, timeout: float | None = None) -> bool:
        """See `Event.wait`."""
        _wait(timeout, self.is_set)
        return self.is_set()


class Turn:
    """A `Condition`; its lock needs no holding, because an actor only ever stops where it waits or calls."""

    def __init__(self) -> None:
        self._told = 0

    def wait(self, timeout: float | None = None) -> None:
        """See `Condition.wait`."""
        before = self._told
        _wait(timeout, lambda: self._told != before)

    def notify_all(self) -> None:
        """See `Condition.notify_all`."""
        self._told += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Fellow:
    """A `Thread`: another actor of the same process."""

    def __init__(self, target: Callable[..., object], name: str, args: Sequence[object] = (), **_: object) -> None:
        self._body = lambda: target(*args)
        self._name = name
        self._actor: Actor | None = None

    def start(self) -> None:
        """See `Thread.start`."""
        process = _process()
        self._actor = process.home.begin_thread(process, self._name, self._body)

    def join(self) -> None:
        """See `Thread.join`."""
        actor = self._actor
        if actor:
            _wait(None, lambda: actor.done)


class Run(tracking.ClusterRun):
    """A run that waits in the time of the model, and whose process knows of it."""

    def __init__(self, name: str, ports: Ports, pace: Pace, stop: Event) -> None:
        process = self._process = _process()
        super().__init__(name, ports, pace, stop, lambda seconds: _wait(seconds, lambda: bool(self._kicked)))
        process.run = self

    def track(self, until: datetime) -> bool:
        """See `ClusterRun.track`."""
        self._process.check_holder(self._process.holder)
        self._process.tracking = True
        try:
            return super().track(until)
        finally:
            self._process.tracking = False


def _copy(name: str, **changed: object) -> Any:
    spec = find_spec(name)
    assert spec
    assert spec.loader
    module: ModuleType = module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(changed)
    return module


def _monotonic() -> float:
    return (_process().home.now - EPOCH).total_seconds()


_lease = _copy("functions.tracker.lease", time=SimpleNamespace(monotonic=_monotonic), Event=Flag, Thread=Fellow)
_runner = _copy(
    "functions.tracker.runner",
    Condition=Turn,
    Event=Flag,
    Thread=Fellow,
    LeaseKeeper=_lease.LeaseKeeper,
    ClusterRun=Run,
)
