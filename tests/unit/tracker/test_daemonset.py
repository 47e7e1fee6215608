"""The life of a task whose images one DaemonSet pulls, in memory."""

from functools import partial

import pytest

from ips_common.cancel import cancel
from ips_common.cluster.memory import digest_of, not_found
from ips_common.errors import ClusterRefused
from ips_common.models.message import BatchMessage
from ips_common.models.node import Node
from ips_common.models.task import Task, TaskStatus
from ips_common.models.view import progress
from ips_common.observe import ContainerSeen
from ips_common.ports.cluster import Json
from tests.unit.world import World

MISSING = "registry.example/missing:1"
PASSING = ContainerSeen(waiting="ImagePullBackOff", message="Back-off pulling image: 503 Service Unavailable")


def create(world: World, **fields: object) -> Task:
    return world.create(mode="daemonset", **fields)


def reasons(world: World, task_id: str, node: str) -> list[str]:
    result = world.nodes(task_id)[node].result
    assert result is not None
    return [image.problem.reason.value if image.problem else "" for image in result.images]


def check_gone(world: World, task: Task) -> None:
    """Nothing is left behind, and nothing was made but DaemonSets."""
    assert not world.cluster.daemonsets
    assert not world.cluster.created
    assert not world.task(task.task_id).cleanup


def test_one_daemonset_pulls_on_every_node_and_goes() -> None:
    world = World(nodes=250, auto=False)
    task = create(world, images=["nginx:1.27", "redis:7"], batchSize=3)
    made: list[int] = []
    world.at(2, lambda: made.append(len(world.cluster.daemonsets)))
    world.at(3, world.cluster.finish_all)
    assert not world.track()
    done = world.task(task.task_id)
    assert (done.status, done.completed_nodes, done.failed_nodes) == (TaskStatus.COMPLETED, 250, 0)
    assert done.image_digests["redis:7"] == {digest_of("redis:7"): 250}
    assert made == [1]
    assert world.cluster.calls["create_daemonset"] == 1
    assert (progress(done).current_batch, progress(done).total_batches) == (1, 1)
    check_gone(world, task)


def test_every_image_has_its_own_result() -> None:
    world = World(nodes=2)
    world.cluster.broken[MISSING] = not_found(MISSING)
    task = create(world, images=["nginx:1.27", MISSING])
    world.track()
    assert world.task(task.task_id).status is TaskStatus.FAILED
    assert reasons(world, task.task_id, "node-0") == ["", "ImageNotFound"]
    check_gone(world, task)


def test_lasting_problem_waits_for_the_other_images() -> None:
    world = World(nodes=1, auto=False)
    world.cluster.broken[MISSING] = not_found(MISSING)
    world.cluster.broken["nginx:1.27"] = ContainerSeen(waiting="ContainerCreating")
    task = create(world, images=["nginx:1.27", MISSING])
    open_at: list[bool] = []
    world.at(2, world.cluster.finish_all)
    world.at(5, lambda: open_at.append(world.task(task.task_id).status is TaskStatus.RUNNING))
    world.at(6, lambda: void(world.cluster.broken.pop("nginx:1.27")))
    world.at(7, world.cluster.finish_all)
    world.track()
    assert open_at == [True]
    assert reasons(world, task.task_id, "node-0") == ["", "ImageNotFound"]


def test_passing_problem_has_its_grace() -> None:
    world = World(nodes=1)
    world.cluster.broken["nginx:1.27"] = PASSING
    task = create(world)
    begun = world.now
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["RegistryUnavailable"]
    finished = world.task(task.task_id).finished_at
    assert finished
    assert 60 <= (finished - begun).total_seconds() < 65


def test_silent_node_fails_at_its_deadline() -> None:
    world = World(nodes=2)
    world.cluster.stuck.add("node-1")
    task = create(world, timeoutSeconds=90)
    begun = world.now
    world.track()
    assert reasons(world, task.task_id, "node-1") == ["DeadlineExceeded"]
    finished = world.task(task.task_id).finished_at
    assert finished
    assert 90 <= (finished - begun).total_seconds() < 95
    check_gone(world, task)


def test_vanished_node_is_gone() -> None:
    world = World(nodes=2, auto=False)
    task = create(world)
    world.at(3, partial(world.cluster.remove_node, "node-1"))
    world.at(4, partial(world.cluster.finish, "node-0"))
    world.track(seconds=30)
    assert reasons(world, task.task_id, "node-1") == ["NodeGone"]
    check_gone(world, task)


def test_node_that_vanished_before_it_had_a_pod_is_gone() -> None:
    world = World(nodes=1)
    task = create(world)
    world.cluster.remove_node("node-0")
    world.track(seconds=30)
    assert reasons(world, task.task_id, "node-0") == ["NodeGone"]


def test_silent_node_that_is_not_ready_says_so() -> None:
    world = World(nodes=1)
    world.cluster.stuck.add("node-0")
    task = create(world)
    world.at(5, lambda: world.cluster.add_node(Node("node-0", "uid-0", {}, ready=False)))
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["NodeNotReady"]


def test_pod_that_is_made_anew_goes_on_to_the_same_deadline() -> None:
    world = World(nodes=1)
    world.cluster.stuck.add("node-0")
    task = create(world, timeoutSeconds=60)
    begun = world.now
    world.at(40, partial(world.cluster.evict, "node-0"))
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["DeadlineExceeded"]
    finished = world.task(task.task_id).finished_at
    assert finished
    assert (finished - begun).total_seconds() < 65


def test_daemonset_that_somebody_deletes_is_made_again() -> None:
    world = World(nodes=2, auto=False)
    task = create(world)
    world.at(5, lambda: world.cluster.delete_daemonsets(task.task_id))
    world.at(40, world.cluster.finish_all)
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    assert world.cluster.calls["create_daemonset"] >= 2


def test_refused_pods_settle_with_the_words_of_admission() -> None:
    world = World(nodes=2)
    world.cluster.pod_refusal = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    task = create(world)
    world.track(seconds=60)
    assert reasons(world, task.task_id, "node-1") == ["RefusedByAdmission"]
    assert "PodSecurity" in world.task(task.task_id).failed_node_details[0].message
    check_gone(world, task)


def test_cluster_that_refuses_daemonsets_fails_the_task() -> None:
    world = World(nodes=150)
    task = create(world)
    world.cluster.refusal = ClusterRefused(
        'User "x" cannot create resource "daemonsets"', status=403, reason="Forbidden"
    )
    world.at(2, lambda: setattr(world.cluster, "refusal", None))
    world.track()
    task = world.task(task.task_id)
    assert (task.status, task.failed_nodes) == (TaskStatus.FAILED, 150)
    assert "cannot create resource" in (task.error_message or "")


def test_admission_that_refuses_the_daemonset_is_every_nodes_reason() -> None:
    world = World(nodes=150)
    task = create(world)
    world.cluster.refusal = ClusterRefused(
        'admission webhook "policy.example" denied the request: no', status=400, reason="BadRequest"
    )
    world.at(2, lambda: setattr(world.cluster, "refusal", None))
    world.track()
    assert world.task(task.task_id).failure_reasons == {"RefusedByAdmission": 150}


def test_lost_message_is_sent_again() -> None:
    world = World(nodes=120)
    world.deliver = False
    task = create(world)
    world.bus.take()
    world.at(5, lambda: setattr(world, "deliver", True))
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    check_gone(world, task)


def test_batch_function_that_never_works_settles_its_nodes_at_last() -> None:
    world = World(nodes=1)
    world.deliver = False
    task = create(world)
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["JobCreateFailed"]


def test_cancelling_deletes_the_daemonset() -> None:
    world = World(nodes=3, auto=False)
    task = create(world)
    world.at(
        3,
        lambda: void(cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)),
    )
    world.track()
    assert world.task(task.task_id).status is TaskStatus.CANCELLED
    check_gone(world, task)


def test_retry_pulls_again_only_where_it_may_help() -> None:
    world = World(nodes=3)
    world.cluster.broken_on["node-1", "nginx:1.27"] = not_found("nginx:1.27")
    world.cluster.stuck.add("node-2")
    task = create(world, maxRetries=1, retryDelaySeconds=10, timeoutSeconds=30)
    world.at(35, world.cluster.stuck.clear)
    world.track()
    task = world.task(task.task_id)
    assert (task.attempt, task.completed_nodes, task.failed_nodes) == (1, 2, 1)
    assert world.cluster.calls["create_daemonset"] == 2
    check_gone(world, task)


@pytest.mark.parametrize("attempt", [0, 1])
def test_daemonset_that_comes_too_late_goes_again(attempt: int) -> None:
    world = World(nodes=2)
    task = create(world)
    world.track()
    world.bus.publish([BatchMessage(task_id=task.task_id, attempt=attempt, batch=1)])
    world.create()
    world.track()
    check_no_daemonset(world)


def test_stray_pods_of_a_task_that_is_over_lead_to_the_deletion_of_their_daemonset() -> None:
    world = World(nodes=2, auto=False)
    task = create(world)
    manifest: list[Json] = []
    world.at(2, lambda: manifest.extend(world.cluster.daemonsets.values()))
    world.at(3, world.cluster.finish_all)
    world.track()
    other = world.create()
    world.at(1, lambda: void(world.cluster.create_daemonset(manifest[0], 5)))
    world.at(9, world.cluster.finish_all)
    world.track()
    assert world.task(other.task_id).status is TaskStatus.COMPLETED
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    check_no_daemonset(world)


def test_tracker_that_starts_anew_finds_out_what_happened() -> None:
    world = World(nodes=4, auto=False)
    task = create(world)
    assert world.track(seconds=5), "work is left"
    world.cluster.finish_all()
    assert not world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED


def check_no_daemonset(world: World) -> None:
    assert not world.cluster.daemonsets


def void(value: object) -> None:
    del value
