"""Whether everything the API stands on answers, asked all at once and in bounded time."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from ips_common.errors import IPSError
from ips_common.models.view import View
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store

logger = logging.getLogger(__name__)

_ASK_WITHIN = 0.9
"""Share of the time that a part gets; the rest is for saying that it did not answer."""


class CheckView(View):
    """How one part answered."""

    ok: bool
    """Whether the part answered."""
    required: bool
    """Whether the API can do nothing useful without it; false for further clusters."""
    latency_ms: float
    """Milliseconds it took, or until it was given up."""
    error: str | None
    """Why it did not; null if it did."""


class ReadyView(View):
    """How every part answered."""

    status: str
    """`ready`; `degraded` if only parts that are not required fail; `unavailable`."""
    checks: Mapping[str, CheckView]
    """`firestore`, `pubsub`, and `cluster/<name>` for every configured cluster."""


@dataclass(slots=True)
class _Run:
    began: float
    done: threading.Event = field(default_factory=threading.Event)
    ended: float = 0.0
    error: str | None = None


class Probe:
    """Asks one part, at most once at a time: while it hangs, callers wait for the same answer instead of piling up."""

    def __init__(self, name: str, ask: Callable[[float], None], *, required: bool) -> None:
        self.name = name
        self.required = required
        self._ask = ask
        self._lock = threading.Lock()
        self._run: _Run | None = None

    def start(self, timeout: float) -> _Run:
        """Begin to ask, or join in if somebody is asking."""
        with self._lock:
            if self._run is None or self._run.done.is_set():
                self._run = _Run(monotonic())
                # A daemon, because a part that hangs for good must not keep the process alive.
                threading.Thread(
                    target=self._answer, args=(self._run, timeout), name=f"ready-{self.name}", daemon=True
                ).start()
            return self._run

    def _answer(self, run: _Run, timeout: float) -> None:
        try:
            self._ask(timeout)
        except IPSError as error:
            run.error = str(error)
        except Exception as error:
            logger.exception("readiness check failed unexpectedly", extra={"check": self.name})
            run.error = type(error).__name__
        finally:
            run.ended = monotonic()
            run.done.set()


class Readiness:
    """All probes together."""

    def __init__(self, probes: Mapping[str, Probe], timeout: float) -> None:
        self._probes = probes
        self._timeout = timeout

    @classmethod
    def of(cls, store: Store, bus: Bus, clusters: Clusters, timeout: float) -> "Readiness":
        """Probe the store, the bus and every cluster; required is the default cluster, or the first."""
        names = list(clusters.names())
        default = "default" if "default" in names else names[0] if names else ""
        probes = [Probe("firestore", store.ready, required=True), Probe("pubsub", bus.ready, required=True)]
        probes += [
            Probe(f"cluster/{name}", partial(_ask_cluster, clusters, name), required=name == default) for name in names
        ]
        return cls({probe.name: probe for probe in probes}, timeout)

    def check(self) -> ReadyView:
        """Ask every part; takes the timeout at most."""
        deadline = monotonic() + self._timeout
        runs = {name: probe.start(self._timeout * _ASK_WITHIN) for name, probe in self._probes.items()}
        checks = {name: _view(run, deadline, self._probes[name], self._timeout) for name, run in runs.items()}
        failed = [check for check in checks.values() if not check.ok]
        status = "ready"
        if failed:
            status = "unavailable" if any(check.required for check in failed) else "degraded"
        return ReadyView(status=status, checks=checks)


def _ask_cluster(clusters: Clusters, name: str, timeout: float) -> None:
    clusters.get(name).ready(timeout)


def _view(run: _Run, deadline: float, probe: Probe, timeout: float) -> CheckView:
    answered = run.done.wait(max(0.0, deadline - monotonic()))
    ended = run.ended if answered else monotonic()
    error = run.error if answered else f"no answer within {timeout:g} s"
    latency = round((ended - run.began) * 1000, 1)
    return CheckView(ok=error is None, required=probe.required, latency_ms=latency, error=error)
