"""Documents that make no sense to the tracker: it goes on with all others."""

import logging
from collections.abc import Sequence

import pytest

from ips_common.errors import UnreadableDocument
from ips_common.models.task import Task, TaskStatus
from ips_common.ports.store import StoredShard, StoredTask
from ips_common.store.memory import MemoryStore
from tests.unit.world import World


class Spoilt(MemoryStore):
    """A store in which some tasks, or their nodes, cannot be read."""

    def __init__(self) -> None:
        super().__init__(max_concurrent_tasks=10)
        self.tasks: set[str] = set()
        self.nodes_of: set[str] = set()
        self.from_shard = 0

    def task(self, task_id: str) -> StoredTask:
        if task_id in self.tasks:
            raise UnreadableDocument(f"tasks/{task_id} cannot be read (ValidationError)")
        return super().task(task_id)

    def open_tasks(self, cluster: str) -> Sequence[StoredTask]:
        return [stored for stored in super().open_tasks(cluster) if stored.task.task_id not in self.tasks]

    def shards(self, task_id: str, indexes: Sequence[tuple[int, int]]) -> Sequence[StoredShard]:
        if task_id in self.nodes_of and any(index >= self.from_shard for _, index in indexes):
            raise UnreadableDocument(f"tasks/{task_id}/shards/0-00000 cannot be read (KeyError)")
        return super().shards(task_id, indexes)

    def all_shards(self, task_id: str) -> Sequence[StoredShard]:
        if task_id in self.nodes_of:
            raise UnreadableDocument(f"tasks/{task_id}/shards/0-00000 cannot be read (KeyError)")
        return super().all_shards(task_id)


def spoilt_world(nodes: int = 3) -> tuple[World, Spoilt]:
    world = World(nodes)
    world.store = store = Spoilt()
    return world, store


def test_a_task_whose_nodes_cannot_be_read_fails_with_that_reason_and_gives_its_slot_back() -> None:
    world, store = spoilt_world()
    broken, whole = world.create(), world.create()
    world.bus.published = [message for message in world.bus.published if broken.task_id not in str(message)]
    store.nodes_of.add(broken.task_id)
    world.track()
    failed = world.task(broken.task_id)
    assert failed.status is TaskStatus.FAILED
    assert failed.error_message == f"tasks/{broken.task_id}/shards/0-00000 cannot be read (KeyError)"
    assert world.task(whole.task_id).status is TaskStatus.COMPLETED


def test_a_task_that_cannot_be_read_stops_nobody_even_if_its_jobs_are_seen() -> None:
    world, store = spoilt_world()
    broken = world.create()
    assert world._deliver()
    assert world.cluster.jobs
    store.tasks.add(broken.task_id)
    whole = world.create()
    world.track()
    assert world.task(whole.task_id).status is TaskStatus.COMPLETED


def test_a_retry_whose_nodes_cannot_be_read_fails_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    world, store = spoilt_world()
    world.cluster.stuck.add("node-2")
    broken = world.create(maxRetries=1, retryDelaySeconds=60, timeoutSeconds=30)
    created: list[Task] = []

    def spoil() -> None:
        assert world.task(broken.task_id).status is TaskStatus.PENDING
        world.cluster.stuck.clear()
        store.nodes_of.add(broken.task_id)
        created.append(world.create())

    world.at(31, lambda: world.cluster.expire("node-2"))
    world.at(45, spoil)
    with caplog.at_level(logging.INFO):
        world.track()
    assert world.task(broken.task_id).status is TaskStatus.FAILED
    assert [world.task(task.task_id).status for task in created] == [TaskStatus.COMPLETED]
    assert [record.message for record in caplog.records].count("task ended") == 2


def test_nodes_that_cannot_be_read_when_their_batch_is_due_fail_the_task() -> None:
    world, store = spoilt_world(nodes=250)
    broken = world.create(batchSize=100)
    store.nodes_of.add(broken.task_id)
    store.from_shard = 1
    world.track()
    failed = world.task(broken.task_id)
    assert failed.status is TaskStatus.FAILED
    assert "cannot be read" in (failed.error_message or "")
