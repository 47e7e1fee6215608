"""Figures and leases: the fake and Firestore alike."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from ips_common.errors import StaleVersion
from ips_common.finishing import delivered, finish, given_up, not_delivered
from ips_common.models.task import PendingReason, Task, TaskStatus
from ips_common.ports.store import ClusterFigures, Figures, Lease, Store
from ips_common.store.ledger import TOP_IMAGES
from tests.contract.conftest import MakeStore
from tests.contract.samples import START, at_once, finished, new_task, put, running, waiting


def run(store: Store, number: int, status: TaskStatus = TaskStatus.COMPLETED, **changes: object) -> None:
    task = new_task(number, images=[f"r.example/a-{number % 3}:1.0", "b"])
    stored = store.start(put(store, task), running(task), [], [])
    store.save(stored, finished(stored.task, status, **changes))


def test_an_empty_store_has_no_figures(store: Store) -> None:
    assert store.figures() == Figures({}, {}, {}, {}, {}, {}, active=0, queued=0)


def test_finished_tasks_are_counted(store: Store) -> None:
    run(store, 0, completed_nodes=7, skipped_nodes=2)
    run(store, 1, completed_nodes=5, failed_nodes=2, failure_reasons={"DiskFull": 3, "ImageNotFound": 1})
    run(store, 3, TaskStatus.FAILED, failed_nodes=1, failure_reasons={"DiskFull": 2})
    put(store, new_task(4))
    store.transition("task-0004", lambda task: finished(task, TaskStatus.CANCELLED))
    store.start(put(store, new_task(5)), running(new_task(5)), [], [])
    put(store, new_task(6))
    assert store.figures() == Figures(
        tasks={"completed": 2, "failed": 1, "cancelled": 1},
        duration_buckets={"completed": {120.0: 2}, "failed": {120.0: 1}, "cancelled": {120.0: 1}},
        duration_sum={"completed": 180.0, "failed": 90.0, "cancelled": 90.0},
        nodes={"succeeded": 10, "skipped": 2, "failed": 3},
        failures={"DiskFull": 5, "ImageNotFound": 1},
        images={"b": 3, "r.example/a-0:1.0": 2, "r.example/a-1:1.0": 1, "nginx:1.29": 1},
        active=1,
        queued=1,
        pending={"start": 1},
    )


def test_pending_tasks_are_counted_by_what_they_wait_for(store: Store) -> None:
    reasons = [None, PendingReason.SLOT, PendingReason.SLOT, PendingReason.RETRY, PendingReason.CLUSTER, None, None]
    for number, reason in enumerate(reasons):
        put(store, new_task(number, pending_reason=reason))
    store.start(put(store, new_task(8)), running(new_task(8)), [], [])
    figures = store.figures()
    assert figures.pending == {"start": 3, "slot": 2, "retry": 1, "cluster": 1}
    assert figures.queued == 7


def test_a_cluster_shows_its_slots_and_which_task_is_next(store: Store) -> None:
    for number in range(2):
        store.start(put(store, new_task(number)), running(new_task(number)), [], [])
    put(store, waiting(new_task(3, priority=1)))
    put(store, waiting(new_task(5, priority=9)))
    put(store, new_task(4, cluster="other", pending_reason=PendingReason.RETRY))
    assert store.figures(["default", "other"]).clusters == {
        "default": ClusterFigures(slots=2, slots_taken=2, next_since=START + timedelta(seconds=5)),
        "other": ClusterFigures(slots=2, slots_taken=0),
    }
    store.save(store.task("task-0000"), finished(store.task("task-0000").task))
    assert store.figures(["default"]).clusters["default"].slots_taken == 1


def test_a_cluster_shows_when_its_tracker_was_last_heard_of(store: Store) -> None:
    def heard() -> datetime | None:
        return store.figures(["default"]).clusters["default"].tracked_at

    assert heard() is None
    lease = store.acquire_lease("default", "a", None)
    taken = heard()
    assert taken
    assert abs(datetime.now(UTC) - taken) < timedelta(minutes=5)
    store.acquire_lease("other", "a", None)
    assert heard() == taken
    lease = store.acquire_lease("default", "a", lease)
    renewed = heard()
    assert renewed
    assert renewed > taken
    store.acquire_lease("default", "", lease)
    released = heard()
    assert released
    assert released > renewed


def test_webhooks_are_counted_once_when_it_is_clear_what_became_of_them(store: Store) -> None:
    def told(number: int) -> Task:
        task = new_task(number, webhook_url="https://hooks.example/")
        store.create_task(task)
        return store.transition(task.task_id, lambda task: finish(task, TaskStatus.CANCELLED, START)).task

    first, second, third, _ = (told(number) for number in range(4))
    for task in (first, second):
        event_id = f"{task.task_id}.cancelled"
        store.transition(task.task_id, partial(not_delivered, event_id=event_id, error="away", now=START))
        for _ in range(2):
            store.transition(task.task_id, partial(delivered, event_id=event_id, now=START))
    store.transition(second.task_id, lambda task: task.model_copy(update={"cleanup": True}))
    store.transition(third.task_id, lambda task: given_up(task, f"{task.task_id}.cancelled", 5))
    assert store.figures().webhooks == {"delivered": 2, "failed": 1}
    assert store.figures().tasks == {"cancelled": 4}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, 30.0), (30, 30.0), (30.001, 60.0), (3600, 3600.0), (3601, float("inf")), (-5, 30.0)]
)
def test_durations_fall_into_buckets(store: Store, seconds: float, bucket: float) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [], [])
    assert stored.task.started_at
    store.save(stored, finished(stored.task, finished_at=stored.task.started_at + timedelta(seconds=seconds)))
    figures = store.figures()
    assert figures.duration_buckets == {"completed": {bucket: 1}}
    assert figures.duration_sum == {"completed": max(0.0, seconds)}


def test_a_task_is_counted_once_however_often_it_is_written(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [], [])
    stored, _ = store.save(stored, finished(stored.task, cleanup=True))
    store.save(stored, stored.task.model_copy(update={"cleanup": False}))
    store.transition("task-0000", lambda task: task.model_copy(update={"error_message": "late"}))
    assert store.figures().tasks == {"completed": 1}


def test_a_change_that_loses_is_not_counted(store: Store) -> None:
    stored = store.start(put(store, new_task()), running(new_task()), [], [])
    outcomes = at_once([partial(store.save, stored, finished(stored.task))] * 6)
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 5
    assert store.figures().tasks == {"completed": 1}


def test_a_task_that_is_final_at_once_is_counted(store: Store) -> None:
    store.start(put(store, new_task()), finished(new_task(), TaskStatus.FAILED), [], [])
    assert store.figures().tasks == {"failed": 1}


def test_tasks_that_finish_at_the_same_moment_are_all_counted(make_store: MakeStore) -> None:
    store = make_store(12)
    started = [store.start(put(store, new_task(number)), running(new_task(number)), [], []) for number in range(12)]
    at_once([partial(store.save, stored, finished(stored.task, completed_nodes=2)) for stored in started])
    figures = store.figures()
    assert (figures.tasks, figures.nodes, figures.images) == (
        {"completed": 12},
        {"succeeded": 24},
        {"nginx:1.29": 12},
    )


def test_the_images_told_apart_are_bounded_and_the_most_wanted_stay(store: Store) -> None:
    wanted = Counter[str]()
    for number in range(40):
        images = ["often", *(f"r.example/once-{number}-{image}" for image in range(49))]
        wanted.update(images)
        task = new_task(number, images=images)
        store.start(put(store, task), finished(task, TaskStatus.COMPLETED), [], [])
    images_told = store.figures().images
    assert len(images_told) == TOP_IMAGES
    assert images_told["often"] == 40
    assert images_told.items() <= wanted.items()


def test_a_lease_is_taken_renewed_and_released(store: Store) -> None:
    assert store.lease("default") is None
    taken = store.acquire_lease("default", "a", None)
    assert store.lease("default") == taken
    renewed = store.acquire_lease("default", "a", taken)
    assert (renewed.holder, renewed.version != taken.version) == ("a", True)
    released = store.acquire_lease("default", "", renewed)
    assert store.lease("default") == released
    assert store.acquire_lease("default", "b", released).holder == "b"
    assert store.lease("other") is None


def test_a_lease_that_moved_cannot_be_taken(store: Store) -> None:
    taken = store.acquire_lease("default", "a", None)
    store.acquire_lease("default", "a", taken)
    for seen in (None, taken):
        with pytest.raises(StaleVersion):
            store.acquire_lease("default", "b", seen)
    with pytest.raises(StaleVersion):
        store.acquire_lease("none", "b", taken)


@pytest.mark.parametrize("held_before", [False, True])
def test_one_of_racing_contenders_gets_the_lease(store: Store, held_before: bool) -> None:  # noqa: FBT001 - parameter
    seen = store.acquire_lease("default", "dead", None) if held_before else None
    outcomes = at_once([partial(store.acquire_lease, "default", f"c-{number}", seen) for number in range(8)])
    won = [outcome for outcome in outcomes if isinstance(outcome, Lease)]
    assert [store.lease("default")] == won
    assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 7
