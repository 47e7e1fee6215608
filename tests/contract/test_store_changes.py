"""Starting, saving and changing tasks, and the slots that go with it: the fake and Firestore alike."""

from dataclasses import replace
from functools import partial

import pytest

from ips_common.errors import Contention, SlotsFull, StaleVersion, TaskFinished
from ips_common.models.results import Shard
from ips_common.models.task import PendingReason, Task, TaskStatus
from ips_common.ports.store import Store, StoredShard, StoredTask
from tests.contract.conftest import MakeStore
from tests.contract.samples import at_once, broken, finished, new_shard, new_task, pulled, put, running, waiting


def start(store: Store, number: int, **fields: object) -> StoredTask:
    task = new_task(number, **fields)
    return store.start(put(store, task), running(task), [], [])


def free_slots(store: Store) -> int:
    """How many more tasks can start; those tried are left running."""
    for number in range(100, 120):
        try:
            start(store, number)
        except SlotsFull:
            return number - 100
    raise AssertionError("there is no end of slots")


def test_starting_writes_the_task_and_its_shards(store: Store) -> None:
    task = new_task()
    begun = running(task, total_nodes=5, batches=1)
    started = store.start(put(store, task), begun, [new_shard(0), new_shard(1, nodes=2)], [])
    assert started.task == begun
    assert store.task(task.task_id) == started
    assert [stored.shard for stored in store.all_shards(task.task_id)] == [new_shard(0), new_shard(1, nodes=2)]


def test_what_start_save_and_transition_return_can_be_written_again(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard()], [])
    shards = store.shards(stored.task.task_id, [(0, 0)])
    for number in range(3):
        changed = stored.task.model_copy(update={"opened": number})
        result = broken() if number == 1 else pulled()
        stored, shards = store.save(stored, changed, [StoredShard(new_shard(result=result), shards[0].version)])
        assert store.task(changed.task_id) == stored
        assert store.all_shards(changed.task_id) == shards
    stored = store.transition(stored.task.task_id, lambda task: task.model_copy(update={"opened": 9}))
    stored, _ = store.save(stored, stored.task.model_copy(update={"opened": 10}))
    assert store.task(stored.task.task_id).task.opened == 10


def test_no_more_tasks_run_than_there_are_slots(store: Store) -> None:
    start(store, 0)
    start(store, 1)
    stored = put(store, new_task(2))
    with pytest.raises(SlotsFull):
        store.start(stored, running(stored.task), [new_shard()], [])
    assert store.task("task-0002") == stored
    assert list(store.all_shards("task-0002")) == []


def test_each_cluster_has_its_own_slots(store: Store) -> None:
    start(store, 0)
    start(store, 1)
    start(store, 2, cluster="other")


def test_racing_starts_never_exceed_the_slots(make_store: MakeStore) -> None:
    store = make_store(3)
    stored = [put(store, new_task(number)) for number in range(12)]
    outcomes = at_once([partial(store.start, one, running(one.task), [new_shard()], []) for one in stored])
    assert sum(isinstance(outcome, StoredTask) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, SlotsFull) for outcome in outcomes) == 9
    assert store.list_tasks(status=TaskStatus.RUNNING).total == 3


def test_racing_starts_of_one_task_begin_it_once(store: Store) -> None:
    stored = put(store, new_task())
    outcomes = at_once([partial(store.start, stored, running(stored.task), [new_shard()], [])] * 5)
    assert sum(isinstance(outcome, StoredTask) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 4
    assert free_slots(store) == 1


def test_slots_change_hands_without_loss_while_many_tasks_race(make_store: MakeStore) -> None:
    store = make_store(2)

    def live(number: int) -> bool:
        stored = put(store, new_task(number))
        try:
            stored = store.start(stored, running(stored.task), [], [])
        except SlotsFull:
            return False
        store.save(stored, finished(stored.task))
        return True

    outcomes = at_once([partial(live, number) for number in range(10)])
    assert set(outcomes) <= {True, False}
    assert free_slots(store) == 2


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_a_task_that_ends_gives_its_slot_back(store: Store, status: TaskStatus) -> None:
    stored = start(store, 0)
    store.save(stored, finished(stored.task, status))
    assert free_slots(store) == 2


def test_a_task_that_waits_for_its_retry_gives_its_slot_back(store: Store) -> None:
    stored = start(store, 0)
    retrying = {"status": TaskStatus.PENDING, "pending_reason": PendingReason.RETRY}
    stored, _ = store.save(stored, stored.task.model_copy(update=retrying))
    assert free_slots(store) == 2
    with pytest.raises(SlotsFull):
        store.start(stored, running(stored.task, attempt=1), [], [])


def test_a_task_cancelled_by_a_transition_gives_its_slot_back(store: Store) -> None:
    start(store, 0)
    store.transition("task-0000", lambda task: finished(task, TaskStatus.CANCELLED))
    assert free_slots(store) == 2


def test_a_task_that_waits_never_held_a_slot(store: Store) -> None:
    start(store, 0)
    start(store, 1)
    put(store, waiting(new_task(2)))
    store.transition("task-0002", lambda task: finished(task, TaskStatus.CANCELLED))
    assert free_slots(store) == 0


def test_a_task_that_is_final_at_once_takes_no_slot(store: Store) -> None:
    start(store, 0)
    start(store, 1)
    task = new_task(2)
    ended = finished(task, TaskStatus.FAILED, error_message="no node matches")
    assert store.start(put(store, task), ended, [], []).task == ended
    assert store.task(task.task_id).task == ended


def test_a_running_task_that_begins_another_attempt_keeps_its_slot(store: Store) -> None:
    stored = start(store, 0)
    start(store, 1)
    again = store.start(stored, running(stored.task, attempt=1), [new_shard(attempt=1)], [])
    store.save(again, finished(again.task))
    assert free_slots(store) == 1


def test_an_attempt_takes_nodes_over_from_the_one_before(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard(result=broken())], [])
    [first] = store.all_shards(stored.task.task_id)
    taken = StoredShard(_superseded(first), first.version)
    store.start(stored, running(stored.task, attempt=1), [new_shard(attempt=1)], [taken])
    assert [one.shard for one in store.all_shards(stored.task.task_id)] == [taken.shard, new_shard(attempt=1)]


def test_a_start_with_a_stale_shard_writes_nothing(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard()], [])
    [first] = store.all_shards(stored.task.task_id)
    stored, _ = store.save(stored, stored.task, [StoredShard(new_shard(result=pulled()), first.version)])
    before = store.task(stored.task.task_id)
    with pytest.raises(StaleVersion):
        store.start(stored, running(stored.task, attempt=1), [new_shard(attempt=1)], [first])
    assert store.task(stored.task.task_id) == before
    assert len(store.all_shards(stored.task.task_id)) == 1


def test_shards_that_exist_are_not_written_over(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard(result=pulled())], [])
    with pytest.raises(StaleVersion):
        store.start(stored, running(stored.task), [new_shard()], [])
    assert [one.shard for one in store.all_shards(stored.task.task_id)] == [new_shard(result=pulled())]


def test_a_task_that_somebody_else_wrote_is_not_written_over(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard()], [])
    shards = store.all_shards(stored.task.task_id)
    store.transition(stored.task.task_id, lambda task: task.model_copy(update={"opened": 1}))
    with pytest.raises(StaleVersion):
        store.save(stored, stored.task, [StoredShard(new_shard(result=pulled()), shards[0].version)])
    assert store.all_shards(stored.task.task_id) == shards
    with pytest.raises(StaleVersion):
        store.start(stored, stored.task, [], [])


def test_a_shard_that_somebody_else_wrote_is_not_written_over(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard(0), new_shard(1)], [])
    first, second = store.all_shards(stored.task.task_id)
    newer = StoredShard(new_shard(1, result=pulled()), second.version)
    stored, _ = store.save(stored, stored.task, [newer])
    with pytest.raises(StaleVersion):
        store.save(
            stored,
            stored.task.model_copy(update={"opened": 1}),
            [StoredShard(new_shard(0, result=pulled()), first.version), newer],
        )
    assert [one.shard for one in store.all_shards(stored.task.task_id)] == [new_shard(0), newer.shard]
    assert store.task(stored.task.task_id).task.opened == 0


def test_of_racing_saves_one_wins(store: Store) -> None:
    stored = put(store, new_task())
    changes = [stored.task.model_copy(update={"opened": number}) for number in range(1, 9)]
    outcomes = at_once([partial(store.save, stored, change) for change in changes])
    won = [change for change, outcome in zip(changes, outcomes, strict=True) if not isinstance(outcome, Exception)]
    assert [store.task("task-0000").task] == won
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 7


def test_racing_transitions_all_happen(store: Store) -> None:
    put(store, new_task())

    def count(task: Task) -> Task:
        return task.model_copy(update={"opened": task.opened + 1})

    outcomes = at_once([partial(store.transition, "task-0000", count)] * 8)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert store.task("task-0000").task.opened == 8


def test_a_transition_that_changes_nothing_writes_nothing(store: Store) -> None:
    before = put(store, new_task())
    assert store.transition("task-0000", lambda task: task) == before
    assert store.task("task-0000") == before


def test_a_transition_gives_up_when_others_always_come_between(impatient_store: Store) -> None:
    store = impatient_store
    put(store, new_task())

    def disturbed(task: Task) -> Task:
        store.save(store.task("task-0000"), task.model_copy(update={"opened": task.opened + 1}))
        return task.model_copy(update={"opened": -1})

    with pytest.raises(Contention):
        store.transition("task-0000", disturbed)
    assert store.task("task-0000").task.opened > 1


def test_what_a_change_raises_reaches_the_caller(store: Store) -> None:
    before = put(store, new_task())

    def refuse(_: Task) -> Task:
        raise TaskFinished("as the caller decided")

    with pytest.raises(TaskFinished, match="as the caller decided"):
        store.transition("task-0000", refuse)
    assert store.task("task-0000") == before


def test_a_finished_task_keeps_its_status(store: Store) -> None:
    put(store, new_task())
    stored = store.transition("task-0000", lambda task: finished(task, TaskStatus.CANCELLED))
    with pytest.raises(TaskFinished):
        store.transition("task-0000", lambda task: finished(task, TaskStatus.COMPLETED))
    with pytest.raises(TaskFinished):
        store.save(stored, stored.task.model_copy(update={"status": TaskStatus.PENDING}))
    with pytest.raises(TaskFinished):
        store.start(stored, running(stored.task), [], [])
    assert store.task("task-0000") == stored


def test_a_task_begins_to_run_only_by_start(store: Store) -> None:
    stored = put(store, new_task())
    with pytest.raises(ValueError, match="start"):
        store.save(stored, running(stored.task))
    with pytest.raises(ValueError, match="start"):
        store.transition("task-0000", running)
    assert store.task("task-0000") == stored


def _superseded(stored: StoredShard) -> Shard:
    return Shard(0, 0, tuple(replace(node, superseded=True) for node in stored.shard.nodes))
