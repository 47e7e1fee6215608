"""Jobs of tasks that are over: those that are about to end are left alone, the others deleted."""

from dataclasses import replace
from functools import partial

from functions.tracker.strays import Strays
from ips_common.models.task import TaskStatus
from tests.unit.world import START, World


def finished_beside_a_running_one() -> tuple[World, str]:
    """A world where a task has just completed while another keeps the tracker running; and the first one's Job."""
    world = World(nodes=1)
    task = world.create()
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    world.cluster.stuck.add("node-0")
    world.create(timeoutSeconds=60)
    (name,) = (name for name in world.cluster.jobs if name.startswith(task.task_id))
    return world, name


def test_job_whose_status_follows_its_pod_is_not_deleted() -> None:
    world, name = finished_beside_a_running_one()
    complete = world.cluster._work[name].job
    world.at(3, partial(world.cluster._tell, replace(complete, finished="", reason="", message="")))
    world.at(5, partial(world.cluster._tell, complete))
    world.track(seconds=40)
    assert name in world.cluster.jobs


def test_job_that_goes_on_living_is_deleted() -> None:
    world, name = finished_beside_a_running_one()
    complete = world.cluster._work[name].job
    world.at(3, partial(world.cluster._tell, replace(complete, finished="", reason="", message="")))
    world.track(seconds=40)
    assert name not in world.cluster.jobs


def test_tracker_stays_for_a_job_that_may_have_to_be_deleted() -> None:
    world, name = finished_beside_a_running_one()
    complete = world.cluster._work[name].job
    world.at(59, partial(world.cluster._tell, replace(complete, finished="", reason="", message="")))
    world.at(60, partial(world.cluster.expire, "node-0", None))
    world.track()
    assert name not in world.cluster.jobs


def test_job_of_a_cancelled_task_goes_at_once() -> None:
    world, name = finished_beside_a_running_one()
    running = replace(world.cluster._work[name].job, finished="", reason="", message="")
    strays = Strays("default", world.clusters)
    strays.remember(running.key.task_id, TaskStatus.CANCELLED)
    strays.see(running, START)
    strays.sweep(START)
    assert name not in world.cluster.jobs
    assert not strays.waiting
