"""Figures and leases: the fake and Firestore alike."""

from collections import Counter
from datetime import timedelta
from functools import partial

import pytest

from ips_common.errors import StaleVersion
from ips_common.models.task import TaskStatus
from ips_common.ports.store import Figures, Lease, Store
from ips_common.store.ledger import TOP_IMAGES
from tests.contract.conftest import MakeStore
from tests.contract.samples import at_once, finished, new_task, put, running


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
    )


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
