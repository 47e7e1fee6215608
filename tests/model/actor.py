"""A function instance, or a thread of one, as a coroutine.

It runs until it is about to call the outside world, and there it can be held.

Only one instance or the explorer runs at any moment, so what happens depends on nothing but the explorer's choices.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

FOREVER = 1_000_000
"""More calls than an instance makes before it idles or ends."""


_here = threading.local()


def here() -> "Actor":
    """Return the actor that runs on this thread."""
    actor = _here.actor
    assert isinstance(actor, Actor)
    return actor


def never() -> bool:
    """Return False."""
    return False


class Crash(BaseException):
    """The process is gone; unlike an `Exception` nothing handles it."""


class Fault(Enum):
    """What becomes of a call of the outside world."""

    NONE = auto()
    CRASH = auto()  # the process dies instead
    FAIL = auto()  # it fails without effect
    FAIL_LATE = auto()  # it takes effect, but the answer is lost


class Doer(Protocol):
    """Who calls the outside world, and waits."""

    @property
    def name(self) -> str:
        """What to call it where something went wrong."""
        ...

    def call(self, what: str) -> Fault:
        """See `Actor.call`."""
        ...

    def idle(self, until: datetime, ready: Callable[[], bool] = ...) -> None:
        """See `Actor.idle`."""
        ...


class Actor:
    """One function instance; `advance` lets it make some more calls."""

    def __init__(self, name: str, body: Callable[["Actor"], object], process: object = None) -> None:
        self.name = name
        self.process = process
        """What dies with it, if it is a thread of something bigger."""
        self.done = False
        self.crashed = False
        self.error: Exception | None = None
        self.result: object = None
        self.at = ""
        """The call it is held at; empty while it idles or before it began."""
        self.wakes_at: datetime | None = None
        """When an idle instance would go on by itself; None if it does not idle."""
        self.ready: Callable[[], bool] = never
        """Whether an idle instance would go on before that."""
        self.calls = 0
        self.traps: dict[str, Fault] = {}
        """What the next call of a name meets, whoever makes it."""
        self.trap: tuple[int, Fault] | None = None
        """The call, counted from 0, that meets a fault whatever `advance` says."""
        self._body = body
        self._left = 0
        self._fault = Fault.NONE
        self._stop_at = ""
        self._doomed = False
        self._go = threading.Lock()
        self._back = threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread: threading.Thread | None = None

    def advance(self, calls: int = FOREVER, fault: Fault = Fault.NONE, stop_at: str = "") -> None:
        """Let the instance make `calls` calls, and meet `fault` at the next; returns when it is held, idles or ends.

        Without a fault it is held before the next call. The call named `stop_at` is the next one whatever `calls` says.
        """
        if self.done:
            return
        self._stop_at = stop_at
        self._left, self._fault, self.at, self.wakes_at, self.ready = calls, fault, "", None, never
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        else:
            self._go.release()
        self._back.acquire()
        if self.done:
            self._thread.join()

    def kill(self) -> None:
        """Let the process die where it is."""
        if self._thread is None:
            self.done = self.crashed = True
        self._doomed = True
        self.advance()

    def call(self, what: str) -> Fault:
        """Be about to call the outside world; returns what is to become of the call.

        Raises:
            Crash: the process dies before it.
        """
        if what == self._stop_at:
            self._left = 0
        while self._left == 0 and self._fault is Fault.NONE and not self._doomed:
            self.at = what
            self._hold()
        if self._doomed:
            raise Crash
        fault = self._next_fault(what)
        self.calls += 1
        if fault is Fault.CRASH:
            self._doomed = True
            raise Crash
        return fault

    def _next_fault(self, what: str) -> Fault:
        if what in self.traps:
            return self.traps.pop(what)
        if self.trap and self.trap[0] == self.calls:
            return self.trap[1]
        if self._left:
            self._left -= 1
            return Fault.NONE
        fault, self._fault = self._fault, Fault.NONE
        return fault

    def idle(self, until: datetime, ready: Callable[[], bool] = never) -> None:
        """Wait for something to happen, which `ready` tells, until a time at most.

        Raises:
            Crash: the process dies meanwhile.
        """
        if not self._doomed:
            self.wakes_at, self.ready = until, ready
            self._hold()
        if self._doomed:
            raise Crash

    def _hold(self) -> None:
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        _here.actor = self
        try:
            self.result = self._body(self)
        except Crash:
            self.crashed = True
        except Exception as error:  # noqa: BLE001 - the explorer judges it
            self.error = error
        self.done = True
        self._back.release()
