"""What a request can ask for, on the real parts."""

from typing import Any

import pytest

from deploy.local.cluster.running import RunningCluster, reach
from deploy.local.stack import Stack
from tests.integration.access import Kube, Tasks, until


@pytest.fixture
def tasks(stack: Stack) -> Tasks:
    return Tasks(stack)


@pytest.fixture
def kube(stack: Stack) -> Kube:
    return Kube(stack)


@pytest.fixture
def cluster(stack: Stack) -> RunningCluster:
    return reach(stack.folders.cluster)


def test_retry_reruns_the_node_whose_deadline_passed(tasks: Tasks, kube: Kube, cluster: RunningCluster) -> None:
    cluster.command("nodes/node-00007", {"stuck": True})
    task_id = tasks.create(
        "registry.example/retry/a:1",
        batchSize=20,
        successThreshold=1,
        timeoutSeconds=30,
        maxRetries=1,
        retryDelaySeconds=1,
    )["taskId"]
    waiting = until(lambda: failed_one(tasks, task_id), "the stuck node fails", 90)
    assert waiting["failedNodeDetails"][0]["reason"] == "DeadlineExceeded"
    cluster.command("nodes/node-00007", {"stuck": False})
    done = tasks.finished(task_id)
    assert (done["status"], done["currentRetry"], done["failedNodeCount"]) == ("completed", 1, 0)
    again = {job.metadata.annotations["image-prewarm/node"] for job in kube.jobs(task_id) if _attempt(job) == 1}
    assert again == {"node-00007"}
    (node,) = (node for node in tasks.nodes(task_id) if node["nodeName"] == "node-00007")
    assert (node["status"], node["attempt"], len(node["earlier"])) == ("succeeded", 1, 1)


def test_fail_fast_leaves_the_rest_alone(tasks: Tasks, kube: Kube) -> None:
    task_id = tasks.create("registry.example/fast/missing:1", batchSize=2, failFast=True)["taskId"]
    done = tasks.finished(task_id)
    assert (done["status"], done["failedNodeCount"]) == ("failed", 20)
    reasons = [node["images"][0]["reason"] for node in tasks.nodes(task_id)]
    assert reasons.count("NotAttempted") > 10
    assert set(reasons) == {"ImageNotFound", "NotAttempted"}
    until(lambda: not [job for job in kube.jobs(task_id) if not job.status.succeeded], "no Job goes on", 10)


def test_several_batches_are_in_flight_at_once(tasks: Tasks, kube: Kube) -> None:
    task_id = tasks.create("registry.example/window/slow2:1", batchSize=4, maxConcurrentBatches=3)["taskId"]
    assert tasks.get(task_id)["progress"]["currentBatch"] == 3
    until(lambda: {_batch(job) for job in kube.jobs(task_id)} == {1, 2, 3}, "three batches have Jobs", 20)
    assert tasks.finished(task_id)["status"] == "completed"


def test_node_that_vanishes_is_gone_and_the_threshold_decides(tasks: Tasks, cluster: RunningCluster) -> None:
    task_id = tasks.create("registry.example/threshold/slow4:1", batchSize=20, successThreshold=0.9)["taskId"]
    cluster.command("nodes/node-00003", {"gone": True})
    try:
        done = tasks.finished(task_id)
    finally:
        cluster.command("nodes/node-00003", {"gone": False})
    assert (done["status"], done["progress"]["completedNodes"]) == ("completed", 19)
    assert [(line["nodeName"], line["reason"]) for line in done["failedNodeDetails"]] == [("node-00003", "NodeGone")]


def failed_one(tasks: Tasks, task_id: str) -> Any:
    task = tasks.get(task_id)
    return task if task["progress"]["failedNodes"] == 1 else None


def _attempt(job: Any) -> int:
    return int(job.metadata.labels["attempt"])


def _batch(job: Any) -> int:
    return int(job.metadata.labels["batch"])
