"""Creating the Jobs of a batch: once, only while wanted, with refusals told."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from functions.batch.handler import (
    OUTAGE,
    Outcome,
    create_batch,
    is_left_to_tracker,
    leave_to_tracker,
    leaving_to_tracker,
)
from ips_common.cancel import cancel
from ips_common.cluster.door import Door
from ips_common.errors import ClusterRefused, ClusterUnavailable, StoreUnavailable, TaskNotFound
from ips_common.models.message import BatchMessage, Kick
from ips_common.models.results import Reason
from ips_common.models.task import Task, TaskStatus
from ips_common.planning import fail
from ips_common.reconcile import cancelled
from ips_common.topology import load_topology
from tests.unit.world import JOBS, START, World

ROOT = Path(__file__).resolve().parents[3]


def deliver(world: World, message: BatchMessage, door: Door | None = None) -> Outcome:
    return create_batch(
        message,
        store=world.store,
        bus=world.bus,
        clusters=world.clusters,
        settings=JOBS,
        seconds_left=lambda: 30.0,
        enter=lambda _: door.enter() if door else nullcontext(),
    )


def first(task: Task) -> BatchMessage:
    return BatchMessage(task_id=task.task_id, attempt=0, batch=1)


def test_one_job_a_node_of_the_batch() -> None:
    world = World(nodes=5)
    task = world.create(batchSize=2)
    assert deliver(world, first(task)) is Outcome.CREATED
    assert [key.node for key in world.cluster.created] == ["node-0", "node-1"]


def test_second_delivery_creates_nothing_more() -> None:
    world = World(nodes=2)
    task = world.create()
    deliver(world, first(task))
    assert deliver(world, first(task)) is Outcome.CREATED
    assert len(world.cluster.created) == 2


def test_message_of_a_batch_that_is_not_open_creates_nothing() -> None:
    world = World(nodes=4)
    task = world.create(batchSize=2)
    for message in (
        BatchMessage(task_id=task.task_id, attempt=0, batch=2),
        BatchMessage(task_id=task.task_id, attempt=1, batch=1),
    ):
        assert deliver(world, message) is Outcome.OUTDATED
    assert not world.cluster.created


def test_message_of_an_unknown_task_is_an_error_that_lasts() -> None:
    with pytest.raises(TaskNotFound):
        deliver(World(), BatchMessage(task_id="task-none", attempt=0, batch=1))


def test_cancelled_task_gets_no_jobs_and_loses_those_it_has() -> None:
    world = World(nodes=2, auto=False)
    task = world.create()
    deliver(world, first(task))
    world.store.transition(task.task_id, lambda task: task.model_copy(update={"status": TaskStatus.CANCELLED}))
    assert deliver(world, first(task)) is Outcome.OUTDATED
    assert not world.cluster.jobs


def test_failed_task_gets_no_jobs_and_loses_those_an_earlier_delivery_made_too_late() -> None:
    world = World(nodes=2, auto=False)
    task = world.create()
    deliver(world, first(task))
    world.store.transition(task.task_id, lambda task: fail(task, "failed fast", START))
    assert deliver(world, first(task)) is Outcome.OUTDATED
    assert not world.cluster.jobs


@pytest.mark.parametrize(("change", "marked"), [(cancelled, True), (lambda task, _: task, False)])
def test_tracker_is_told_of_jobs_that_cannot_be_withdrawn_now(
    change: Callable[[Task, datetime], Task],
    marked: bool,  # noqa: FBT001 - expected
) -> None:
    world = World(nodes=2, auto=False)
    task = world.create()
    over = world.store.transition(task.task_id, lambda task: change(task, START))
    if over.task.cleanup:
        world.store.save(over, over.task.model_copy(update={"cleanup": False}))
    leave_to_tracker(first(task), world.store)
    assert world.task(task.task_id).cleanup is marked


def test_batch_is_delivered_again_while_the_tracker_cannot_be_told() -> None:
    world = World(nodes=2)
    task = world.create()
    world.store.down = True
    with pytest.raises(StoreUnavailable):
        leave_to_tracker(first(task), world.store)


def test_task_cancelled_while_its_jobs_are_created_leaves_none() -> None:
    world = World(nodes=2, auto=False)
    task = world.create()

    def cancelling() -> float:
        now = world.now + timedelta(seconds=1)
        cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=now)
        return 30.0

    outcome = create_batch(
        first(task),
        store=world.store,
        bus=world.bus,
        clusters=world.clusters,
        settings=JOBS,
        seconds_left=cancelling,
    )
    assert outcome is Outcome.WITHDRAWN
    assert world.cluster.created
    assert not world.cluster.jobs


def test_cluster_that_is_away_has_the_message_delivered_again() -> None:
    world = World(nodes=2)
    task = world.create()
    world.cluster.away = True
    with pytest.raises(ClusterUnavailable):
        deliver(world, first(task))


def test_quota_is_reported_as_retryable_and_the_tracker_kicked() -> None:
    world = World(nodes=3)
    task = world.create()
    world.bus.take()
    world.cluster.quota = 2
    assert deliver(world, first(task)) is Outcome.REFUSED
    (report,) = world.store.reports(task.task_id, [(0, 1)])
    assert report.refusal is None
    assert {node: (problem.reason, problem.retryable) for node, problem in report.problems.items()} == {
        "node-2": (Reason.JOB_CREATE_FAILED, True)
    }
    assert world.bus.published == [Kick(cluster="default", task_id=task.task_id)]


@pytest.mark.parametrize(
    ("message", "status", "hopeless", "reason"),
    [
        ('User "x" cannot create resource "jobs" in API group "batch"', 403, True, Reason.REFUSED_BY_ADMISSION),
        ('namespaces "ips" not found', 404, True, Reason.JOB_CREATE_FAILED),
        ('admission webhook "policy.example" denied the request: no', 400, False, Reason.REFUSED_BY_ADMISSION),
        ('Job.batch "x" is invalid: spec: Invalid value', 422, False, Reason.JOB_CREATE_FAILED),
    ],
)
def test_refusal_that_no_batch_can_escape_is_told_apart(
    message: str,
    status: int,
    *,
    hopeless: bool,
    reason: Reason,
) -> None:
    world = World(nodes=1)
    task = world.create()
    world.cluster.refusal = ClusterRefused(message, status=status, reason="Forbidden")
    assert deliver(world, first(task)) is Outcome.REFUSED
    (report,) = world.store.reports(task.task_id, [(0, 1)])
    assert (report.refusal is not None) is hopeless
    assert report.problems["node-0"].reason is reason


def test_cluster_that_has_not_answered_is_left_alone_for_a_while() -> None:
    world = World(nodes=2)
    task = world.create()
    clock = [0.0]
    door = Door("default", clock=lambda: clock[0])
    world.cluster.away = True
    with pytest.raises(ClusterUnavailable, match="could not be created"):
        deliver(world, first(task), door)
    world.cluster.away = False

    with pytest.raises(ClusterUnavailable, match="has not answered a moment ago"):
        deliver(world, first(task), door)
    assert not world.cluster.created
    outdated = BatchMessage(task_id=task.task_id, attempt=1, batch=1)
    assert deliver(world, outdated, door) is Outcome.OUTDATED

    clock[0] = 60.0
    assert deliver(world, first(task), door) is Outcome.CREATED


@pytest.mark.parametrize(("age", "left"), [(0, False), (119, False), (120, True), (86_000, True), (-60, False)])
def test_an_outage_does_not_use_up_the_deliveries_of_a_batch(age: int, left: bool) -> None:  # noqa: FBT001 - expected
    assert is_left_to_tracker(START, START + timedelta(seconds=age)) is left


@pytest.mark.parametrize(("age", "again"), [(119, True), (120, False)])
def test_what_outlasts_its_deliveries_is_left_to_the_tracker(age: int, again: bool) -> None:  # noqa: FBT001 - expected
    world = World()
    message = first(world.create())
    trouble = pytest.raises(ClusterUnavailable) if again else nullcontext()
    with (
        trouble,
        leaving_to_tracker(message, START, store=world.store, clock=lambda: START + timedelta(seconds=age)),
    ):
        raise ClusterUnavailable("away")


def test_a_message_of_unknown_age_is_delivered_again() -> None:
    assert not is_left_to_tracker(None, START)


def test_the_deliveries_of_a_batch_last_longer_than_they_are_used() -> None:
    (pushes,) = (
        one for one in load_topology(ROOT / "infra" / "topology.yaml").subscriptions if one.name == "ips-batches-push"
    )
    assert pushes.dead_letter
    pauses = [
        min(pushes.retry.minimum_backoff_seconds * 2.0**number, pushes.retry.maximum_backoff_seconds)
        for number in range(pushes.dead_letter.max_delivery_attempts - 1)
    ]
    # Half for Pub/Sub's jitter, and a minute for clocks that differ.
    assert sum(pauses) / 2 > OUTAGE.total_seconds() + 60
