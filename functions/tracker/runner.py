"""One process's tracking: kicks for a cluster that is tracked already only wake its loop.

Pub/Sub pushes a limited number of messages at a time, and tracking holds its message for minutes. So at most one
invocation of a process tracks; others hand it their cluster and return at once.
"""

import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Condition, Event, Thread

from functions.tracker.lease import LeaseKeeper
from functions.tracker.ports import Pace, Ports
from functions.tracker.run import ClusterRun
from ips_common import logs
from ips_common.errors import BusUnavailable, StoreUnavailable, TemporaryError
from ips_common.models.message import Kick

logger = logging.getLogger(__name__)


@dataclass
class _Shift:
    """One invocation's tracking.

    Its time is the same for all clusters, but one that hangs may overrun it for some seconds. Whoever asks meanwhile
    begins the next shift, so that the other clusters do not wait for that one.
    """

    until: datetime
    running: set[str] = field(default_factory=set)
    broken: str | None = None


class Runner:
    """Tracks clusters, each in a thread of its own, for one invocation at a time.

    Args:
        ports: the adapters.
        pace: how often and how long.
        lease_seconds: how long a silent tracker keeps others out.
        draining: asked often; true when the process is to end soon.
    """

    def __init__(
        self, ports: Ports, pace: Pace, lease_seconds: float, draining: Callable[[], bool] = lambda: False
    ) -> None:
        self._ports = ports
        self._pace = pace
        self._lease_seconds = lease_seconds
        self._draining = draining
        self._holder = uuid.uuid4().hex
        self._changed = Condition()
        self._runs: dict[str, ClusterRun] = {}
        self._shift: _Shift | None = None
        self._stop = Event()

    def track(self, clusters: Iterable[str], task_id: str | None, seconds: float) -> None:
        """See to it that the clusters are tracked; the first caller stays until all tracking is over.

        Args:
            clusters: names of configured clusters.
            task_id: the task to look at first; None for all.
            seconds: how long the caller may stay.

        Raises:
            TemporaryError: tracking broke off, or the process is about to end; call again.
        """
        with self._changed:
            if self._stop.is_set() and self._runs:
                raise TemporaryError("the process is to end, another one has to track")
            shift = self._shift
            hosting = shift is None or self._ports.clock() >= shift.until
            if shift is None or hosting:
                shift = self._shift = _Shift(self._ports.clock() + timedelta(seconds=seconds))
                self._stop.clear()
            for name in clusters:
                if name in self._runs:
                    self._runs[name].wake(task_id)
                else:
                    self._begin(name, shift)
            if hosting:
                self._host(shift)

    def _host(self, shift: _Shift) -> None:
        try:
            while shift.running:
                self._changed.wait(timeout=0.5)
                if self._draining() and not self._stop.is_set():
                    logger.info("the process is to end, handing over")
                    self._stop.set()
                    for run in self._runs.values():
                        run.wake()
            if shift.broken:
                raise TemporaryError(shift.broken)
        finally:
            if self._shift is shift:
                self._shift = None

    def _begin(self, name: str, shift: _Shift) -> None:
        run = ClusterRun(name, self._ports, self._pace, self._stop)
        self._runs[name] = run
        shift.running.add(name)
        Thread(target=self._run, args=(run, shift), name=f"track-{name}", daemon=True).start()

    def _run(self, run: ClusterRun, shift: _Shift) -> None:
        broken: str | None = None
        with logs.bind(cluster=run.name):
            try:
                self._with_lease(run, shift.until)
            except TemporaryError as error:
                broken = str(error)
            except Exception as error:
                broken = f"{type(error).__name__} in the tracking of {run.name}"
                logger.exception("tracking failed")
            with self._changed:
                del self._runs[run.name]
                shift.running.discard(run.name)
                shift.broken = broken or shift.broken
                # A kick came just as the last look had found nothing to do, or when the time was up.
                missed = run.kicked and not broken and not self._stop.is_set()
                now_on = self._shift if self._shift and self._ports.clock() < self._shift.until else None
                if missed and now_on:
                    self._begin(run.name, now_on)
                self._changed.notify_all()
            if missed and not now_on:
                self._pass_on(run.name)

    def _with_lease(self, run: ClusterRun, until: datetime) -> None:
        lease = LeaseKeeper(self._ports.store, run.name, self._holder, self._lease_seconds, on_lost=run.abort)
        if not lease.acquire(give_up=lambda: self._stop.is_set() or self._ports.clock() >= until):
            logger.info("tracked by another instance")
            run.abort()
            return
        try:
            left = run.track(until)
        finally:
            lease.release()
        if lease.unreachable:
            # Nobody else tracks: the next one has to come as soon as Pub/Sub delivers again, not at the next tick.
            raise StoreUnavailable(f"the lease of cluster {run.name} could not be renewed")
        if left:
            self._pass_on(run.name)

    def _pass_on(self, cluster: str) -> None:
        """Ask for another invocation at once instead of waiting for the scheduler's minute."""
        try:
            self._ports.bus.publish([Kick(cluster=cluster)])
        except BusUnavailable as error:
            logger.warning("no kick for the next invocation", extra={"error": str(error)})
