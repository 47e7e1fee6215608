"""Several clusters in one tracker: what one of them does not answer is no other's trouble."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from functions.tracker.ports import Pace, Ports
from functions.tracker.runner import Runner
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.errors import ClusterUnavailable, TemporaryError
from ips_common.models.node import Node
from ips_common.models.task import PendingReason, Task, TaskSpec, TaskStatus
from ips_common.naming import new_task_id
from ips_common.ports.cluster import READ_SECONDS
from ips_common.store.memory import MemoryStore
from tests.unit.world import START, World


def test_a_cluster_that_is_away_is_asked_once_a_beat_however_many_tasks_wait_for_it() -> None:
    world = World(nodes=2)
    world.cluster.away = True
    tasks = [world.create() for _ in range(8)]
    world.cluster.calls.clear()
    world.at(18, lambda: setattr(world.cluster, "away", False))

    world.track()

    assert {world.task(task.task_id).status for task in tasks} == {TaskStatus.COMPLETED}
    # Four beats in the outage; afterwards each task reads the nodes once.
    assert len(tasks) < world.cluster.calls["nodes"] <= len(tasks) + 5


def test_jobs_of_cancelled_tasks_are_not_deleted_one_by_one_from_a_cluster_that_is_away() -> None:
    world = World(nodes=2)
    world.cluster.away = True
    for _ in range(8):
        task = world.create()
        world.store.transition(
            task.task_id, lambda task: task.model_copy(update={"status": TaskStatus.CANCELLED, "cleanup": True})
        )
    world.cluster.calls.clear()
    world.at(18, lambda: setattr(world.cluster, "away", False))

    world.track()

    assert not world.store.open_tasks("default")
    assert 8 < world.cluster.calls["delete_jobs"] <= 8 + 5


def test_nodes_are_not_given_up_for_want_of_a_job_the_moment_their_cluster_is_back() -> None:
    world = World(nodes=3)
    world.deliver = False
    task = world.create()
    world.cluster.away = True

    def back() -> None:
        world.cluster.away = False
        world.deliver = True

    world.at(3000, back)
    world.track(7200)

    assert world.task(task.task_id).status is TaskStatus.COMPLETED


class HungCluster(MemoryCluster):
    """Answers nothing until a test ends the wait."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        self.asked = threading.Event()
        self.time_is_up = threading.Event()

    def nodes(
        self, selector: Mapping[str, str], images: Collection[str] | None = None, *, timeout: float = READ_SECONDS
    ) -> Sequence[Node]:
        del selector, images, timeout
        self.asked.set()
        assert self.time_is_up.wait(30)
        raise ClusterUnavailable(f"cluster {self.name} did not answer in time")


class Land:
    """A runner, a cluster that hangs and one that does not."""

    def __init__(self) -> None:
        self.now = START
        self.store = MemoryStore(max_concurrent_tasks=10)
        self.bus = MemoryBus()
        self.hung, self.good = HungCluster("hung", 2), MemoryCluster("good", 2)
        self.drain = False
        ports = Ports(self.store, self.bus, MemoryClusters(self.hung, self.good), self.clock)
        pace = Pace(reload=timedelta(milliseconds=50), linger=timedelta(seconds=3600))
        self.runner = Runner(ports, pace, lease_seconds=15, draining=lambda: self.drain)
        self.calls: list[threading.Thread] = []
        self.errors: list[Exception] = []

    def clock(self) -> datetime:
        return self.now

    def create(self, cluster: str) -> Task:
        spec = TaskSpec(images=("nginx:1.27",), cluster=cluster)
        task = Task(
            task_id=new_task_id(self.now, f"{len(self.calls):08x}"),
            spec=spec,
            created_at=self.now,
            pending_reason=PendingReason.CLUSTER,
        )
        self.store.create_task(task)
        return task

    def status(self, task: Task) -> TaskStatus:
        return self.store.task(task.task_id).task.status

    def call(self, *clusters: str, seconds: float = 500) -> threading.Thread:
        """Invoke the function once."""

        def run() -> None:
            try:
                self.runner.track(clusters, None, seconds)
            except TemporaryError as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.calls.append(thread)
        return thread


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("the condition never held")


@pytest.fixture
def land() -> Iterator[Land]:
    made = Land()
    yield made
    made.hung.time_is_up.set()
    made.now += timedelta(hours=9)
    for call in made.calls:
        call.join(30)
        assert not call.is_alive()


def test_one_cluster_is_tracked_while_another_hangs(land: Land) -> None:
    land.create("hung")
    land.call("hung", "good")
    assert land.hung.asked.wait(10)

    task = land.create("good")
    land.call("good")

    until(lambda: land.status(task) is TaskStatus.RUNNING)


def test_a_cluster_that_overruns_its_time_does_not_keep_the_others_from_theirs(land: Land) -> None:
    land.create("hung")
    first = land.call("hung", "good")
    assert land.hung.asked.wait(10)
    until(lambda: "good" in land.runner._runs)
    land.now += timedelta(seconds=501)
    until(lambda: "good" not in land.runner._runs)

    task = land.create("good")
    land.call("good")

    until(lambda: land.status(task) is TaskStatus.RUNNING)
    assert first.is_alive()
    land.hung.time_is_up.set()
    first.join(30)
    assert not first.is_alive()


def test_a_kick_for_a_process_that_is_to_end_is_delivered_again(land: Land) -> None:
    land.create("hung")
    land.call("hung")
    assert land.hung.asked.wait(10)
    land.drain = True
    until(land.runner._stop.is_set)

    land.call("good").join(30)

    assert [str(error) for error in land.errors] == ["the process is to end, another one has to track"]
