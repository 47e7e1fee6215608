"""The life of a task from its first batch to its end, in memory."""

from functools import partial

import pytest

from ips_common.cancel import cancel
from ips_common.cluster.memory import digest_of, not_found
from ips_common.errors import ClusterRefused, TaskFinished
from ips_common.models.node import Node
from ips_common.models.results import NodeStatus, Reason
from ips_common.models.task import PendingReason, TaskStatus
from ips_common.observe import ContainerSeen
from tests.unit.world import World

MISSING = "registry.example/missing:1"


def reasons(world: World, task_id: str, node: str) -> list[str]:
    result = world.nodes(task_id)[node].result
    assert result is not None
    return [image.problem.reason.value if image.problem else "" for image in result.images]


def test_task_completes_when_every_node_pulled_every_image() -> None:
    world = World(nodes=5)
    task = world.create(images=["nginx:1.27", "redis:7"], batchSize=2)
    assert task.status is TaskStatus.RUNNING
    assert not world.track()
    task = world.task(task.task_id)
    assert task.status is TaskStatus.COMPLETED
    assert (task.completed_nodes, task.failed_nodes, task.total_nodes) == (5, 0, 5)
    assert task.image_digests == {"nginx:1.27": {digest_of("nginx:1.27"): 5}, "redis:7": {digest_of("redis:7"): 5}}
    assert not task.open_batches
    assert not task.cleanup


def test_no_job_of_a_batch_before_the_batch_ahead_is_settled() -> None:
    world = World(nodes=7, auto=False)
    task = world.create(batchSize=3)
    created: list[int] = []

    def step() -> None:
        created.append(len(world.cluster.created))
        world.cluster.finish_all()
        if len(created) < 12:
            world.at(5, step)

    world.at(5, step)
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    assert created[:3] == [3, 6, 7]
    assert [key.batch for key in world.cluster.created] == [1, 1, 1, 2, 2, 2, 3]


def test_next_batch_waits_for_the_last_node_of_the_one_ahead() -> None:
    world = World(nodes=4, auto=False)
    world.create(batchSize=2)
    world.at(1, partial(world.cluster.finish, "node-0"))
    world.at(20, lambda: late.append(len(world.cluster.created)))
    world.at(21, partial(world.cluster.finish, "node-1"))
    late: list[int] = []
    world.track(seconds=30)
    assert late == [2]
    assert len(world.cluster.created) == 4


def test_window_keeps_several_batches_open() -> None:
    world = World(nodes=10, auto=False)
    task = world.create(batchSize=2, maxConcurrentBatches=3)
    assert [batch.number for batch in task.open_batches] == [1, 2, 3]
    world.at(1, partial(world.cluster.finish, "node-2"))
    world.at(2, partial(world.cluster.finish, "node-3"))
    world.track(seconds=10)
    assert [batch.number for batch in world.task(task.task_id).open_batches] == [1, 3, 4]


def test_missing_image_fails_the_node_although_the_others_were_pulled() -> None:
    world = World(nodes=2)
    world.cluster.broken[MISSING] = not_found(MISSING)
    task = world.create(images=["nginx:1.27", MISSING])
    world.track()
    task = world.task(task.task_id)
    assert task.status is TaskStatus.FAILED
    assert task.error_message
    assert "ImageNotFound" in task.error_message
    assert reasons(world, task.task_id, "node-0") == ["", "ImageNotFound"]
    assert task.image_digests == {"nginx:1.27": {digest_of("nginx:1.27"): 2}}
    assert [(line.node_name, line.image, line.retryable) for line in task.failed_node_details] == [
        ("node-0", MISSING, False),
        ("node-1", MISSING, False),
    ]
    assert not world.cluster.jobs, "Jobs that would back off until their deadline must go"


def test_threshold_decides_between_completed_and_failed() -> None:
    for threshold, status in ((0.5, TaskStatus.COMPLETED), (0.51, TaskStatus.FAILED)):
        world = World(nodes=2)
        world.cluster.broken_on["node-1", "nginx:1.27"] = not_found("nginx:1.27")
        task = world.create(successThreshold=threshold)
        world.track()
        assert world.task(task.task_id).status is status


def test_deadline_settles_a_stuck_node_and_lets_the_next_batch_open() -> None:
    world = World(nodes=2)
    world.cluster.stuck.add("node-0")
    task = world.create(batchSize=1, timeoutSeconds=60)
    world.at(61, partial(world.cluster.expire, "node-0"))
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["DeadlineExceeded"]
    assert world.task(task.task_id).completed_nodes == 1


def test_what_was_pulled_before_the_deadline_counts_as_pulled() -> None:
    world = World(nodes=1, auto=False)
    task = world.create(images=["nginx:1.27", "slow:1"], timeoutSeconds=60)
    world.cluster.broken["slow:1"] = ContainerSeen(waiting="ContainerCreating")
    world.at(1, world.cluster.finish_all)
    world.at(61, partial(world.cluster.expire, "node-0"))
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["", "DeadlineExceeded"]


def test_job_controller_that_never_ends_the_job_does_not_hang_the_task() -> None:
    world = World(nodes=1)
    world.cluster.stuck.add("node-0")
    task = world.create(timeoutSeconds=30)
    world.track()
    assert world.task(task.task_id).status is TaskStatus.FAILED


def test_vanished_node_is_gone() -> None:
    world = World(nodes=2, auto=False)
    task = world.create()
    world.at(3, partial(world.cluster.remove_node, "node-1"))
    world.at(4, partial(world.cluster.finish, "node-0"))
    world.track()
    assert reasons(world, task.task_id, "node-1") == ["NodeGone"]


def test_refused_pods_settle_with_the_words_of_admission() -> None:
    world = World(nodes=1)
    world.cluster.pod_refusal = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    task = world.create()
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["RefusedByAdmission"]
    assert "PodSecurity" in world.task(task.task_id).failed_node_details[0].message


def test_refused_pods_settle_even_where_events_may_not_be_read() -> None:
    world = World(nodes=1)
    world.cluster.pod_refusal = "no"
    world.cluster.events_readable = False
    task = world.create()
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["RefusedByAdmission"]


def test_cluster_that_refuses_jobs_fails_the_task_and_every_node_has_a_result() -> None:
    world = World(nodes=5)
    task = world.create(batchSize=2)
    world.cluster.refusal = ClusterRefused(
        'jobs.batch is forbidden: User "x" cannot create resource "jobs"', status=403, reason="Forbidden"
    )
    world.track()
    task = world.task(task.task_id)
    assert task.status is TaskStatus.FAILED
    assert task.error_message
    assert "cannot create resource" in task.error_message
    assert task.failed_nodes == 5
    assert all(state.result for state in world.nodes(task.task_id).values())


def test_quota_fails_only_the_nodes_it_stops() -> None:
    world = World(nodes=3)
    world.cluster.quota = 2
    task = world.create(successThreshold=0.6)
    world.track()
    task = world.task(task.task_id)
    assert task.status is TaskStatus.COMPLETED
    assert task.failure_reasons == {"JobCreateFailed": 1}
    assert task.failed_node_details[0].retryable


def test_lost_batch_message_is_sent_again() -> None:
    world = World(nodes=2)
    world.deliver = False
    task = world.create()
    world.bus.take()
    world.at(5, lambda: setattr(world, "deliver", True))
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED


def test_batch_function_that_never_works_settles_its_nodes_at_last() -> None:
    world = World(nodes=1)
    world.deliver = False
    task = world.create()
    world.track()
    assert reasons(world, task.task_id, "node-0") == ["JobCreateFailed"]


def test_cluster_outage_delays_but_loses_nothing() -> None:
    world = World(nodes=4, auto=False)
    task = world.create(batchSize=2)

    def end() -> None:
        world.cluster.away = False
        world.cluster.auto = True
        world.cluster.finish_all()

    world.at(2, lambda: setattr(world.cluster, "away", True))
    world.at(300, end)
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED


def test_task_accepted_during_an_outage_starts_when_the_cluster_is_back() -> None:
    world = World(nodes=2)
    world.cluster.away = True
    task = world.create()
    assert task.pending_reason is PendingReason.CLUSTER
    assert [message.kind for message in world.bus.published] == ["kick"], "nobody else would wake the tracker"
    world.at(100, lambda: setattr(world.cluster, "away", False))
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED


def test_tracker_that_starts_anew_finds_out_what_happened() -> None:
    world = World(nodes=4, auto=False)
    task = world.create(batchSize=2)
    assert world.track(seconds=5), "work is left"
    world.cluster.finish_all()
    world.cluster.auto = True
    assert not world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED


def test_cancelling_deletes_every_job_and_nothing_more_is_created() -> None:
    world = World(nodes=6, auto=False)
    task = world.create(batchSize=2)

    def do() -> None:
        cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)

    world.at(3, do)
    world.track()
    assert world.task(task.task_id).status is TaskStatus.CANCELLED
    assert not world.cluster.jobs
    assert len(world.cluster.created) == 2
    assert not world.task(task.task_id).cleanup


def test_job_that_appears_after_the_cancellation_is_deleted() -> None:
    world = World(nodes=2, auto=False)
    other = world.create(nodeSelector={}, batchSize=1)
    task = world.create(batchSize=2)
    messages = world.bus.take()
    cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)
    world.bus.published[:] = messages
    world.at(10, world.cluster.finish_all)
    world.at(20, world.cluster.finish_all)
    world.track()
    assert {key.task_id for key in world.cluster.created} == {other.task_id}


def test_finished_task_cannot_be_cancelled() -> None:
    world = World(nodes=1)
    task = world.create()
    world.track()
    with pytest.raises(TaskFinished):
        cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)


def test_no_matching_node_fails_at_once() -> None:
    world = World(nodes=2)
    task = world.create(nodeSelector={"pool": "gpu"})
    assert (task.status, task.error_message) == (TaskStatus.FAILED, "no node matches the selector")


def test_nodes_that_hold_every_image_get_no_job() -> None:
    world = World(nodes=0)
    held = frozenset({"docker.io/library/nginx:1.27"})
    world.cluster.add_node(Node("a", "ua", {}, images=held))
    world.cluster.add_node(Node("b", "ub", {}))
    task = world.create()
    world.track()
    task = world.task(task.task_id)
    assert (task.completed_nodes, task.skipped_nodes) == (2, 1)
    assert [key.node for key in world.cluster.created] == ["b"]
    result = world.nodes(task.task_id)["a"].result
    assert result
    assert result.status is NodeStatus.SKIPPED


def test_waiting_tasks_start_by_priority_then_age_when_a_slot_is_free() -> None:
    world = World(nodes=1, slots=1)
    world.cluster.auto = False
    first = world.create()
    low = world.create(priority=1)
    high = world.create(priority=9)
    assert low.pending_reason is PendingReason.SLOT
    for second in range(1, 40, 2):
        world.at(second, world.cluster.finish_all)
    world.track()
    order = [key.task_id for key in world.cluster.created]
    assert order == [first.task_id, high.task_id, low.task_id]
    assert world.task(low.task_id).status is TaskStatus.COMPLETED


def test_retry_reruns_only_nodes_that_may_succeed() -> None:
    world = World(nodes=3)
    world.cluster.broken_on["node-1", "nginx:1.27"] = not_found("nginx:1.27")
    world.cluster.stuck.add("node-2")
    task = world.create(maxRetries=1, retryDelaySeconds=10, timeoutSeconds=30)

    def heal() -> None:
        world.cluster.expire("node-2")
        world.cluster.stuck.clear()

    world.at(31, heal)
    world.track()
    task = world.task(task.task_id)
    assert task.attempt == 1
    assert (task.completed_nodes, task.failed_nodes) == (2, 1)
    assert task.status is TaskStatus.FAILED
    assert [key.node for key in world.cluster.created if key.attempt == 1] == ["node-2"]
    again = world.nodes(task.task_id)["node-2"]
    assert again.result
    assert again.result.succeeded
    assert [failure.images[0].problem.reason for failure in again.earlier if failure.images[0].problem] == [
        Reason.DEADLINE_EXCEEDED
    ]
    assert task.failure_reasons == {"ImageNotFound": 1}


def test_fail_fast_stops_when_the_threshold_is_out_of_reach() -> None:
    world = World(nodes=10)
    world.cluster.broken["nginx:1.27"] = not_found("nginx:1.27")
    task = world.create(failFast=True, batchSize=1)
    world.track()
    task = world.task(task.task_id)
    assert task.status is TaskStatus.FAILED
    assert task.failed_nodes == 10
    assert len(world.cluster.created) < 10
    assert task.failure_reasons["NotAttempted"] == 10 - task.failure_reasons["ImageNotFound"]
