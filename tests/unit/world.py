"""The whole product in memory, on a clock of its own: tests say what happens, and time passes by itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event

from functions.batch.handler import JobSettings, create_batch
from functions.tracker.ports import Pace, Ports
from functions.tracker.run import ClusterRun
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.errors import TemporaryError
from ips_common.launch import launch
from ips_common.models.message import BatchMessage, Kick
from ips_common.models.results import NodeState
from ips_common.models.task import Task, TaskSpec
from ips_common.naming import new_task_id
from ips_common.store.memory import MemoryStore

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
JOBS = JobSettings(namespace="ips", worker_image="busybox:musl", worker_pull_policy="IfNotPresent", ttl_seconds=3600)


class World:
    """A store, a bus and a cluster in memory, with the functions run by hand."""

    def __init__(self, nodes: int = 3, *, slots: int = 10, auto: bool = True) -> None:
        self.now = START
        self.store = MemoryStore(max_concurrent_tasks=slots)
        self.bus = MemoryBus()
        self.cluster = MemoryCluster("default", nodes, auto=auto, clock=lambda: self.now)
        self.clusters = MemoryClusters(self.cluster)
        self.cluster.on_idle = self._pass_time
        self.deliver = True
        """Whether batch messages reach the batch function."""
        self.events: list[tuple[datetime, Callable[[], None]]] = []
        self.run: ClusterRun | None = None
        self._serial = 0

    def create(self, **fields: object) -> Task:
        """Accept a task and try to start it, as the API does."""
        self._serial += 1
        self.now += timedelta(milliseconds=1)
        spec = TaskSpec.model_validate({"images": ["nginx:1.27"], **fields})
        task = Task(task_id=new_task_id(self.now, f"{self._serial:08x}"), spec=spec, created_at=self.now)
        self.store.create_task(task)
        stored = self.store.task(task.task_id)
        return launch(stored, store=self.store, bus=self.bus, clusters=self.clusters, now=self.now).task

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen `seconds` from now."""
        self.events.append((self.now + timedelta(seconds=seconds), what))
        self.events.sort(key=lambda event: event[0])

    def track(self, seconds: float = 3600) -> bool:
        """Run the tracker until it finds nothing left to do; returns whether it left work behind."""
        ports = Ports(self.store, self.bus, self.clusters, lambda: self.now)
        self.run = ClusterRun("default", ports, Pace(), Event(), wait=self._pass_time)
        return self.run.track(self.now + timedelta(seconds=seconds))

    def task(self, task_id: str) -> Task:
        """Read a task."""
        return self.store.task(task_id).task

    def nodes(self, task_id: str) -> dict[str, NodeState]:
        """Read the entries that count of all nodes of a task."""
        return {state.name: state for _, state in self.store.nodes(task_id, limit=1000).nodes}

    def _pass_time(self, timeout: float) -> None:
        """Deliver messages; if there are none let time pass, to the next event at most."""
        if self._deliver():
            return
        until = self.now + timedelta(seconds=max(timeout, 0.001))
        if self.events and self.events[0][0] <= until:
            self.now, happen = max(self.now, self.events[0][0]), self.events.pop(0)[1]
            happen()
        else:
            self.now = until

    def _deliver(self) -> bool:
        messages = self.bus.take()
        for message in messages:
            if isinstance(message, Kick):
                if self.run:
                    self.run.wake(message.task_id)
            elif self.deliver:
                self._create_batch(message)
        return bool(messages)

    def _create_batch(self, message: BatchMessage) -> None:
        try:
            create_batch(
                message,
                store=self.store,
                bus=self.bus,
                clusters=self.clusters,
                settings=JOBS,
                seconds_left=lambda: 60.0,
            )
        except TemporaryError:
            self.at(1, lambda: self._create_batch(message))
