"""The ports as one function instance sees them: it can be held, fail or die at each call.

What an adapter does in several requests (several Jobs, several messages, a compare-and-set) is several calls here, too.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from types import TracebackType
from typing import Any, Self, cast

from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster
from ips_common.cluster.memory_watch import MemoryWatch
from ips_common.errors import BusUnavailable, ClusterUnavailable, StoreUnavailable, TemporaryError
from ips_common.models.message import Outgoing
from ips_common.models.results import Shard
from ips_common.models.task import Task
from ips_common.observe import ATTEMPT_LABEL, TASK_LABEL, Key, PodSeen
from ips_common.ports.cluster import Creation, JobOutcome, Json, Synced, Watch, WatchEvent
from ips_common.ports.store import IdempotencyKey, StoredShard, StoredTask
from ips_common.ports.webhook import Courier, Reply
from ips_common.store.memory import MemoryStore
from tests.model.actor import Doer, Fault
from tests.model.few import FewNodesTask
from tests.model.warden import Warden


class Seat:
    """Stands between an instance and one part of the outside world; passes every call on, if it is to come through."""

    def __init__(
        self, actor: Doer, real: object, lost: type[TemporaryError], after: Callable[[], None] = lambda: None
    ) -> None:
        self._actor = actor
        self._real = real
        self._lost = lost
        self._after = after

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._real, name)
        return partial(self._call, name, attribute) if callable(attribute) else attribute

    def _call(self, name: str, do: Callable[..., Any], *args: object, **kwargs: object) -> Any:
        fault = self._actor.call(name)
        if fault is Fault.FAIL:
            raise self._lost(f"{name} failed")
        try:
            answer = do(*args, **kwargs)
        finally:
            self._after()
        if fault is Fault.FAIL_LATE:
            raise self._lost(f"the answer to {name} was lost")
        return answer


class StoreSeat(Seat):
    """The store, as the instance `who` sees it; a warden looks at what every call did.

    With `few`, tasks are stored as ones whose shards hold few nodes.
    """

    def __init__(self, actor: Doer, store: MemoryStore, warden: Warden, *, few: bool) -> None:
        super().__init__(actor, store, StoreUnavailable, lambda: warden.check_writes(actor.name))
        self._warden = warden
        self._few = few
        self._waiting: list[Task] = []

    def create_task(self, task: Task, key: IdempotencyKey | None = None) -> tuple[Task, bool]:
        """See `Store.create_task`."""
        stored = FewNodesTask.model_construct(**dict(task)) if self._few else task
        created: tuple[Task, bool] = self._call("create_task", cast("MemoryStore", self._real).create_task, stored, key)
        return created

    def transition(self, task_id: str, change: Callable[[Task], Task]) -> StoredTask:
        """A read and a write, with room for others in between, as often as it takes."""
        return MemoryStore.transition(cast("MemoryStore", self), task_id, change)

    def queue(self, cluster: str, limit: int) -> Sequence[StoredTask]:
        """See `Store.queue`."""
        queue: Sequence[StoredTask] = self._call("queue", cast("MemoryStore", self._real).queue, cluster, limit)
        self._waiting = self._warden.waiting()
        return queue

    def start(
        self, stored: StoredTask, task: Task, shards: Sequence[Shard], taken_over: Sequence[StoredShard]
    ) -> StoredTask:
        """See `Store.start`."""
        start = cast("MemoryStore", self._real).start
        fault = self._actor.call("start")
        if fault is Fault.FAIL:
            raise self._lost("start failed")
        started = start(stored, task, shards, taken_over)
        self._after()
        self._warden.check_turn(started.task, self._waiting)
        if fault is Fault.FAIL_LATE:
            raise self._lost("the answer to start was lost")
        return started


class BusSeat(Seat):
    """The bus."""

    def __init__(self, actor: Doer, bus: MemoryBus) -> None:
        super().__init__(actor, bus, BusUnavailable)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """One message after the other: an outage or a crash may come in between."""
        publish = cast("MemoryBus", self._real).publish
        for message in messages:
            self._call(f"publish {message.kind}", publish, [message])


class ClusterSeat(Seat):
    """One cluster; `created` is called with every Job or DaemonSet that came into being."""

    def __init__(
        self, actor: Doer, cluster: MemoryCluster, clock: Callable[[], datetime], created: Callable[[Key], None]
    ) -> None:
        super().__init__(actor, cluster, ClusterUnavailable)
        self.last_watch: WatchSeat | None = None
        self._cluster = cluster
        self._clock = clock
        self._created = created

    def create_jobs(self, jobs: Sequence[Json], timeout: float) -> Sequence[JobOutcome]:
        """One Job after the other; never raises for one that could not be created."""
        return [self._create(job, timeout) for job in jobs]

    def _create(self, job: Json, timeout: float) -> JobOutcome:
        fault = self._actor.call("create_job")
        if fault is not Fault.FAIL:
            before = len(self._cluster.created)
            outcome = self._cluster.create_jobs([job], timeout)[0]
            if len(self._cluster.created) > before:
                self._created(self._cluster.created[-1])
        if fault is not Fault.NONE:
            return JobOutcome(job["metadata"]["name"], Creation.FAILED, "no answer")
        return outcome

    def create_daemonset(self, daemonset: Json, timeout: float) -> JobOutcome:
        """See `Cluster.create_daemonset`; never raises."""
        fault = self._actor.call("create_daemonset")
        name = daemonset["metadata"]["name"]
        if fault is Fault.FAIL:
            return JobOutcome(name, Creation.FAILED, "no answer")
        outcome = self._cluster.create_daemonset(daemonset, timeout)
        if outcome.creation is Creation.CREATED:
            labels = daemonset["metadata"]["labels"]
            self._created(Key(labels[TASK_LABEL], int(labels[ATTEMPT_LABEL]), 1, ""))
        return outcome if fault is Fault.NONE else JobOutcome(name, Creation.FAILED, "no answer")

    def watch(self, stop: Event, *, seconds: float) -> Watch:
        """Begin a watch; it never fails, it loses touch."""
        self._actor.call("watch")
        self.last_watch = WatchSeat(self._actor, self._cluster.watch(stop, seconds=seconds), self._clock)
        return self.last_watch


class WatchSeat:
    """A watch; waiting for something to happen leaves the rest of the world the time for it.

    While `pods_late` is set, nothing is heard of pods: Jobs and pods are watched by two requests, which do not wait for
    each other.
    """

    def __init__(self, actor: Doer, watch: MemoryWatch, clock: Callable[[], datetime]) -> None:
        self.watch = watch
        self.pods_late = False
        self._late: list[WatchEvent] = []
        self._actor = actor
        self._clock = clock

    @property
    def pending(self) -> bool:
        """Whether `get` would return at once."""
        return not self.watch._idle() or bool(self._late and not self.pods_late)

    def get(self, timeout: float) -> Sequence[WatchEvent]:
        """See `Watch.get`."""
        if not self.pending:
            self._actor.idle(self._clock() + timedelta(seconds=timeout), lambda: self.pending)
        events = [*self._late, *self.watch.get(0)]
        self._late = []
        if self.pods_late:
            self._late = [event for event in events if _of_pod(event)]
            events = [event for event in events if not _of_pod(event)]
        return events

    def wake(self) -> None:
        """See `Watch.wake`."""
        self.watch.wake()

    def close(self) -> None:
        """See `Watch.close`."""
        self.watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _of_pod(event: WatchEvent) -> bool:
    return isinstance(event, PodSeen | Synced) or getattr(event, "kind", "") == "Pod"


class ClustersSeat:
    """The configured clusters: one."""

    def __init__(self, actor: Doer, seat: ClusterSeat, name: str) -> None:
        self._actor = actor
        self._seat = seat
        self._name = name

    def names(self) -> Sequence[str]:
        """See `Clusters.names`."""
        return [self._name]

    def get(self, name: str) -> ClusterSeat:
        """See `Clusters.get`."""
        assert name == self._name
        if self._actor.call("credentials") is not Fault.NONE:
            raise ClusterUnavailable("no credentials")
        return self._seat


class CourierSeat(Courier):
    """Webhooks."""

    def __init__(self, actor: Doer, courier: Courier) -> None:
        self._actor = actor
        self._courier = courier

    def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
        """See `Courier.deliver`: it never raises."""
        fault = self._actor.call("post")
        if fault is Fault.FAIL:
            return Reply(0, "no connection")
        reply = self._courier.deliver(url, event_id, body, at)
        return Reply(0, "no answer") if fault is Fault.FAIL_LATE else reply
