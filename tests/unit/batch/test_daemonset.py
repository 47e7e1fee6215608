"""Creating the DaemonSet of a task: once, only while wanted."""

from datetime import timedelta

import pytest

from functions.batch.handler import Outcome, create_batch
from ips_common.cancel import cancel
from ips_common.errors import ClusterUnavailable
from ips_common.models.message import BatchMessage
from ips_common.models.task import Task, TaskStatus
from tests.unit.world import JOBS, World


def deliver(world: World, task: Task, batch: int = 1) -> Outcome:
    return create_batch(
        BatchMessage(task_id=task.task_id, attempt=0, batch=batch),
        store=world.store,
        bus=world.bus,
        clusters=world.clusters,
        settings=JOBS,
        seconds_left=lambda: 30.0,
    )


def test_any_message_of_a_daemonset_makes_all_of_it_once() -> None:
    world = World(nodes=150, auto=False)
    task = world.create(mode="daemonset", batchSize=1)
    assert [batch.number for batch in task.open_batches] == [1, 2]
    for batch in (2, 1, 2):
        assert deliver(world, task, batch) is Outcome.CREATED
    (manifest,) = world.cluster.daemonsets.values()
    affinity = manifest["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    assert len(affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]) == 150
    assert not world.cluster.created


@pytest.mark.parametrize("changes", [{"status": TaskStatus.COMPLETED}, {"attempt": 1}])
def test_daemonset_of_a_task_that_is_over_or_goes_on_without_it_is_deleted(changes: dict[str, object]) -> None:
    world = World(nodes=2, auto=False)
    task = world.create(mode="daemonset")
    deliver(world, task)
    world.store.transition(task.task_id, lambda task: task.model_copy(update=changes))
    assert world.cluster.daemonsets
    assert deliver(world, task) is Outcome.OUTDATED
    assert not world.cluster.daemonsets


def test_daemonset_of_a_task_that_ends_meanwhile_is_deleted() -> None:
    world = World(nodes=2, auto=False)
    task = world.create(mode="daemonset")

    def cancelling() -> float:
        now = world.now + timedelta(seconds=1)
        cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=now)
        return 30.0

    outcome = create_batch(
        BatchMessage(task_id=task.task_id, attempt=0, batch=1),
        store=world.store,
        bus=world.bus,
        clusters=world.clusters,
        settings=JOBS,
        seconds_left=cancelling,
    )
    assert outcome is Outcome.WITHDRAWN
    assert world.cluster.calls["create_daemonset"] == 1
    assert not world.cluster.daemonsets


def test_cluster_that_is_away_has_the_message_delivered_again() -> None:
    world = World(nodes=2)
    task = world.create(mode="daemonset")
    world.cluster.away = True
    with pytest.raises(ClusterUnavailable):
        deliver(world, task)
