"""A batch message that died: its nodes have a result, or what it made before has to go."""

import pytest

from functions.tracker.handler import bury
from ips_common.models.message import BatchMessage, Kick
from ips_common.models.results import Reason
from ips_common.models.task import TaskStatus
from ips_common.reconcile import cancelled
from tests.unit.world import START, World


@pytest.mark.parametrize("mode", ["job", "daemonset"])
def test_nodes_of_a_batch_that_died_fail_with_its_reason(mode: str) -> None:
    world = World(nodes=2)
    task = world.create(mode=mode)
    world.bus.published.clear()
    message = BatchMessage(task_id=task.task_id, attempt=0, batch=1)
    assert bury(message, 20, store=world.store) == Kick(cluster="default", task_id=task.task_id)
    world.track()
    over = world.task(task.task_id)
    assert (over.status, over.failure_reasons) == (TaskStatus.FAILED, {Reason.JOB_CREATE_FAILED: 2})
    assert "could not be created in 20 attempts" in over.failed_node_details[0].message


def test_what_a_batch_made_goes_if_its_task_was_cancelled_before_it_died() -> None:
    world = World(nodes=2)
    task = world.create()
    message = BatchMessage(task_id=task.task_id, attempt=0, batch=1)
    over = world.store.transition(task.task_id, lambda task: cancelled(task, START))
    world.store.save(over, over.task.model_copy(update={"cleanup": False}))
    assert bury(message, 20, store=world.store) == Kick(cluster="default", task_id=task.task_id)
    assert world.task(task.task_id).cleanup


def test_batch_of_a_task_that_ended_well_is_of_no_interest() -> None:
    world = World(nodes=2)
    task = world.create()
    world.track()
    message = BatchMessage(task_id=task.task_id, attempt=0, batch=1)
    assert bury(message, 20, store=world.store) is None
    assert not world.task(task.task_id).cleanup
