"""Documents that make no sense to the tracker: it goes on with all others."""

from collections.abc import Sequence

from ips_common.errors import UnreadableDocument
from ips_common.models.task import TaskStatus
from ips_common.ports.store import StoredShard, StoredTask
from ips_common.store.memory import MemoryStore
from tests.unit.world import World


class Spoilt(MemoryStore):
    """A store in which some tasks, or their nodes, cannot be read."""

    def __init__(self) -> None:
        super().__init__(max_concurrent_tasks=10)
        self.tasks: set[str] = set()
        self.nodes_of: set[str] = set()

    def task(self, task_id: str) -> StoredTask:
        if task_id in self.tasks:
            raise UnreadableDocument(f"tasks/{task_id} cannot be read (ValidationError)")
        return super().task(task_id)

    def open_tasks(self, cluster: str) -> Sequence[StoredTask]:
        return [stored for stored in super().open_tasks(cluster) if stored.task.task_id not in self.tasks]

    def shards(self, task_id: str, indexes: Sequence[tuple[int, int]]) -> Sequence[StoredShard]:
        if task_id in self.nodes_of:
            raise UnreadableDocument(f"tasks/{task_id}/shards/0-00000 cannot be read (KeyError)")
        return super().shards(task_id, indexes)


def spoilt_world() -> tuple[World, Spoilt]:
    world = World(nodes=3)
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
