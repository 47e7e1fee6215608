"""Every function stopped before each of its calls of the outside world, and each call failing, then delivered again.

Where the world ends up must not depend on it.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from ips_common.cluster.memory import not_found
from ips_common.models.message import BatchMessage, Kick, Notification
from ips_common.models.results import Reason
from ips_common.models.task import TaskStatus
from tests.model.actor import Fault
from tests.model.ending import end
from tests.model.instance import Instance
from tests.model.letter import Announcement, Letter, copy_of
from tests.model.world import World

HOOK = {"webhookUrl": "https://hooks.example/ended"}
MOST_CALLS = 200

Scenario = Callable[[World], Instance]
"""Prepares a world up to the moment at which the instance in question begins."""


def accepted(world: World, **fields: object) -> str:
    world.advance(world.ask({"batchSize": 2, "maxConcurrentBatches": 2, **HOOK, **fields}))
    return world.tasks()[-1].task_id


def letter_of(world: World, kind: type) -> Letter:
    return next(letter for letter in world.letters if isinstance(letter.message, kind))


def deliver(world: World, kind: type, *, dead: bool = False) -> Instance:
    letter = letter_of(world, kind)
    letter.dead = dead
    instance = world.deliver(letter)
    assert instance
    return instance


def create(world: World) -> Instance:
    return world.ask({"batchSize": 2, **HOOK})


def create_without_a_slot(world: World) -> Instance:
    accepted(world)
    return world.ask({"batchSize": 2, **HOOK})


def create_without_nodes(world: World) -> Instance:
    return world.ask({"nodeSelector": {"pool": "none"}, **HOOK})


def create_with_every_image_there(world: World) -> Instance:
    for index in range(world.nodes):
        world.cluster.change_node(f"node-{index}", images=frozenset({"docker.io/library/nginx:1.27"}))
    return world.ask(HOOK)


def batch(world: World) -> Instance:
    accepted(world)
    return deliver(world, BatchMessage)


def batch_of_a_cancelled_task(world: World) -> Instance:
    task_id = accepted(world)
    world.advance(deliver(world, BatchMessage), 3)
    world.advance(world.cancel(task_id))
    return next(instance for instance in world.instances if instance.actor.name == "batch")


def batch_of_a_failed_task(world: World) -> Instance:
    world.cluster.broken["nginx:1.27"] = not_found("nginx:1.27")
    accepted(world, failFast=True)
    world.advance(deliver(world, BatchMessage))
    late = deliver(world, BatchMessage)
    world.advance(late, 3)
    tracker = deliver(world, Kick)
    for _ in range(3):
        world.advance(tracker)
        world.cluster.work()
    world.kill(tracker)
    assert world.tasks()[-1].status is TaskStatus.FAILED
    return late


def batch_of_a_daemonset(world: World) -> Instance:
    accepted(world, mode="daemonset")
    return deliver(world, BatchMessage)


def batch_of_a_daemonset_that_is_cancelled(world: World) -> Instance:
    task_id = accepted(world, mode="daemonset")
    late = deliver(world, BatchMessage)
    world.advance(late, 3)
    world.advance(world.cancel(task_id))
    return late


def batch_over_quota(world: World) -> Instance:
    accepted(world)
    world.cluster.quota = 0
    return deliver(world, BatchMessage)


def batch_without_rights(world: World) -> Instance:
    accepted(world)
    world.cluster.forbids = "jobs.batch is forbidden: cannot create resource jobs"
    return deliver(world, BatchMessage)


def batch_that_is_dead(world: World) -> Instance:
    accepted(world)
    return deliver(world, BatchMessage, dead=True)


def cancel(world: World) -> Instance:
    task_id = accepted(world)
    world.advance(deliver(world, BatchMessage))
    return world.cancel(task_id)


def cancel_before_the_start(world: World) -> Instance:
    accepted(world)
    return world.cancel(accepted(world))


def track(world: World) -> Instance:
    accepted(world)
    return deliver(world, Kick)


def track_a_daemonset(world: World) -> Instance:
    world.cluster.broken_on["node-1", "nginx:1.27"] = not_found("nginx:1.27")
    accepted(world, mode="daemonset")
    return deliver(world, Kick)


def release(world: World) -> Instance:
    world.announce(f"sha256:{'1' * 64}", "1.2")
    return deliver(world, Announcement)


def track_a_task_nobody_started(world: World) -> Instance:
    world.advance(world.ask(HOOK), 3, Fault.CRASH)
    return world.track(Letter(Kick(cluster="default"), world.now))


def track_a_retry(world: World) -> Instance:
    world.cluster.doomed = {(0, "node-1"), (0, "node-2"), (1, "node-2")}
    accepted(world, maxRetries=2, retryDelaySeconds=1)
    return deliver(world, Kick)


def track_failures(world: World) -> Instance:
    world.cluster.broken_on["node-0", "nginx:1.27"] = not_found("nginx:1.27")
    accepted(world, images=["nginx:1.27", "redis:7"], maxConcurrentBatches=1)
    return deliver(world, Kick)


def track_failing_fast(world: World) -> Instance:
    world.cluster.broken["nginx:1.27"] = not_found("nginx:1.27")
    accepted(world, maxConcurrentBatches=1, failFast=True)
    return deliver(world, Kick)


def track_without_rights(world: World) -> Instance:
    world.advance(batch_without_rights(world))
    return deliver(world, Kick)


def track_a_cancelled_task(world: World) -> Instance:
    task_id = accepted(world)
    world.advance(deliver(world, BatchMessage))
    world.break_for(1, ("cluster", "away", True))
    world.advance(world.cancel(task_id))
    return deliver(world, Kick)


def telling(world: World) -> Instance:
    accepted(world, nodeSelector={"pool": "none"})
    return deliver(world, Notification)


def telling_a_receiver_that_is_away(world: World) -> Instance:
    world.break_for(5, ("postman", "away", True))
    return telling(world)


def telling_that_is_dead(world: World) -> Instance:
    accepted(world, nodeSelector={"pool": "none"})
    return deliver(world, Notification, dead=True)


SCENARIOS = (
    create,
    create_without_a_slot,
    create_without_nodes,
    create_with_every_image_there,
    batch,
    batch_of_a_cancelled_task,
    batch_of_a_failed_task,
    batch_of_a_daemonset,
    batch_of_a_daemonset_that_is_cancelled,
    batch_over_quota,
    batch_without_rights,
    batch_that_is_dead,
    cancel,
    cancel_before_the_start,
    track,
    track_a_daemonset,
    release,
    track_a_task_nobody_started,
    track_a_retry,
    track_failures,
    track_failing_fast,
    track_without_rights,
    track_a_cancelled_task,
    telling,
    telling_a_receiver_that_is_away,
    telling_that_is_dead,
)


def live(scenario: Scenario, trap: tuple[int, Fault] | None) -> tuple[int, object]:
    """Live through a scenario to its end; returns how many calls its instance made, and where the world ended up."""
    world = World(nodes=5, slots=1)
    instance = scenario(world)
    instance.actor.trap = trap
    task_ids = [task.task_id for task in world.tasks()]
    letter, request, name = instance.letter, instance.request, instance.actor.name
    again = copy_of(letter) if letter and trap and trap[1] is Fault.NONE else None
    world.advance(instance)
    while not instance.actor.done:
        world.run(1)
    if again:
        world.letters.append(again)
    if trap and request:
        world.advance(world.ask_again(request))
    if trap and name == "cancel":
        world.advance(world.cancel(task_ids[-1]))
    end(world)
    return instance.actor.calls, summary(world)


def jobs(world: World, task_id: str) -> Counter[tuple[int, int, str]]:
    """Count the Jobs ever made for each node, in each attempt."""
    return Counter((key.attempt, key.batch, key.node) for key in world.cluster.created if key.task_id == task_id)


def summary(world: World) -> object:
    """Return all that may not depend on what went wrong on the way: everything but times."""
    return [
        (
            task.spec,
            task.status,
            task.attempt,
            (task.total_nodes, task.completed_nodes, task.failed_nodes, task.skipped_nodes, task.lasting_failures),
            task.failure_reasons,
            task.image_digests,
            task.error_message,
            sorted(
                (
                    shard.shard.attempt,
                    state.name,
                    state.superseded,
                    state.result and (state.result.status, [image.problem for image in state.result.images]),
                    len(state.earlier),
                )
                for shard in world.store.all_shards(task.task_id)
                for state in shard.shard.nodes
            ),
            task.webhook and task.webhook.state,
            task.status is TaskStatus.CANCELLED
            or Reason.NOT_ATTEMPTED in task.failure_reasons
            or jobs(world, task.task_id),
        )
        for task in world.tasks()
    ]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_end_does_not_depend_on_where_an_instance_stopped(scenario: Scenario) -> None:
    calls, expected = live(scenario, None)
    assert 0 < calls < MOST_CALLS
    for fault in (Fault.CRASH, Fault.FAIL, Fault.FAIL_LATE):
        for call in range(calls):
            _, found = live(scenario, (call, fault))
            assert found == expected, f"{fault.name} at call {call} of {calls}"
    _, found = live(scenario, (calls, Fault.NONE))
    assert found == expected, "delivered again although it had ended"


def cleaned_up_before_its_last_job(world: World) -> Instance:
    late = batch_of_a_cancelled_task(world)
    tracker = deliver(world, Kick)
    world.advance(tracker)
    assert not world.tasks()[-1].cleanup
    world.kill(tracker)
    world.advance(late, 1)
    assert world.cluster.jobs
    return late


def test_late_job_of_a_cancelled_task_goes_though_its_cluster_is_away_for_minutes() -> None:
    world = World(nodes=5, slots=1)
    late = cleaned_up_before_its_last_job(world)
    world.kubelets_work = False
    world.break_for(300, ("cluster", "away", True))
    world.pass_time(120)
    world.advance(late)
    world.run(1)
    assert not any(isinstance(letter.message, BatchMessage) for letter in world.letters)
    end(world)


def test_late_job_of_a_cancelled_task_goes_though_its_message_dies() -> None:
    world = World(nodes=5, slots=1)
    late = cleaned_up_before_its_last_job(world)
    world.kill(late)
    world.letters[-1].dead = True
    end(world)


def test_late_job_of_a_cancelled_task_goes_though_the_store_is_away_for_minutes() -> None:
    world = World(nodes=5, slots=1)
    late = cleaned_up_before_its_last_job(world)
    world.kubelets_work = False
    world.break_for(300, ("store", "down", True))
    world.pass_time(120)
    world.advance(late)
    world.run(1)
    end(world)
