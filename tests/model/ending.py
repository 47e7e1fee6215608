"""When faults stop: everything must come to its end by itself, and what is left must be in order."""

from collections import Counter
from datetime import timedelta

from ips_common.models.message import Kick
from ips_common.models.task import Task, TaskStatus
from tests.model.rule import untold, untried
from tests.model.world import World

PATIENCE = 8 * 3600
"""Seconds in which every task must have come to its end; far more than deadlines and retries add up to."""
AFTERMATH = 250
"""Seconds left for cleaning up and telling: some ticks of the scheduler, with clocks that are two minutes apart."""

AGAIN = timedelta(seconds=200)
"""After which everything that faults prevented has been tried again; clocks may be a minute ahead."""


def end(world: World) -> None:
    """Let the world come to its end without faults, and check what is left.

    Nothing happens any more to Jobs of tasks that are over, neither deadline nor TTL: who made them must remove them.
    """
    world.heal()
    world.kubelets_work = True
    world.cluster.spared = lambda task_id: task_id in over
    over = {task.task_id for task in world.tasks() if task.status.final}
    for instance in list(world.instances):
        if instance in world.instances:
            world.advance(instance)
    healthy = world.now
    created = len(world.cluster.created)
    before = {task.task_id for task in world.tasks() if task.status.final}

    def quiet() -> bool:
        over.update(task.task_id for task in world.tasks() if task.status.final)
        return len(over) == len(world.tasks()) and not world.letters and not world.instances

    world.run(PATIENCE, beat=10, done=quiet)
    world.run(AFTERMATH, beat=10)
    world.judge()
    late = [key for key in world.cluster.created[created:] if key.task_id in before]
    wrong = [f"{key} got a Job after its task was over" for key in late]
    for task in world.tasks():
        wrong += [f"{task.task_id}: {words}" for words in _left_by(task, world)]
        shards = [item.shard for item in world.store.all_shards(task.task_id)]
        wrong += untried(task, shards, world.cluster.cursed, healthy + AGAIN)
    wrong += _lost(world)
    assert not wrong, "; ".join(wrong)


def _left_by(task: Task, world: World) -> list[str]:
    if not task.status.final:
        return [f"never settled: {task.status}, {task.pending_reason}, {task.open_batches}"]
    given_up = world.postman.unwanted | world.hand.buried
    wrong = untold(task, world.postman.told, given_up)
    live = [job.key for job in world.cluster.live_jobs() if job.key.task_id == task.task_id]
    if live:
        wrong.append(f"{task.status}, but Jobs live on: {live}")
    if task.status is TaskStatus.CANCELLED and world.cluster.names_of(task.task_id):
        wrong.append("cancelled, but Jobs are left")
    if world.cluster.sets_of(task.task_id):
        wrong.append(f"{task.status}, but its DaemonSet lives on")
    if task.cleanup:
        wrong.append("never cleaned up")
    return wrong


def _lost(world: World) -> list[str]:
    tasks = {task.task_id: task for task in world.tasks()}
    accepted = {request.task_id for request in world.requests if request.task_id is not None}
    wrong = [f"accepted task {task_id} is lost" for task_id in sorted(accepted - tasks.keys())]
    wrong += [
        f"{task_id} was cancelled and is {tasks[task_id].status}"
        for task_id in sorted(world.cancelled)
        if tasks[task_id].status is not TaskStatus.CANCELLED
    ]
    released = Counter(task.spec.images for task in tasks.values() if task.created_by == "release:all")
    wrong += [f"{count} tasks for {images[0]}" for images, count in released.items() if count > 1]
    if len(released) < len(world.hand.released):
        wrong.append("a release that was acknowledged has no task")
    under_way = [letter.message.kind for letter in world.letters if not isinstance(letter.message, Kick)]
    if under_way:
        wrong.append(f"still under way: {under_way}")
    if world.store.slots("default"):
        wrong.append(f"slots are held at the end: {world.store.slots('default')}")
    ended = Counter(task.status.value for task in tasks.values())
    figures = world.store.figures().tasks
    if figures != ended:
        wrong.append(f"figures say {figures}, tasks {dict(ended)}")
    return wrong
