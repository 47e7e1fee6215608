"""Tasks on the real parts: functions behind functions-framework, emulators, pushes, a cluster over HTTPS."""

import re

import pytest

from deploy.local.stack import Stack
from tests.integration.access import Kube, Tasks, record, until


@pytest.fixture
def tasks(stack: Stack) -> Tasks:
    return Tasks(stack)


@pytest.fixture
def kube(stack: Stack) -> Kube:
    return Kube(stack)


def test_batches_follow_each_other_strictly(tasks: Tasks, kube: Kube) -> None:
    task = tasks.create("registry.example/order/a:1", batchSize=5)
    arrivals, threads = record(kube, task["taskId"], 25)
    done = tasks.finished(task["taskId"])
    for thread in threads:
        thread.join()
    assert done["status"] == "completed"
    assert done["progress"] == {
        "totalNodes": 20,
        "completedNodes": 20,
        "failedNodes": 0,
        "skippedNodes": 0,
        "currentBatch": 4,
        "totalBatches": 4,
        "percentage": 100.0,
    }
    assert {number: len(times) for number, times in arrivals.jobs.items()} == {1: 5, 2: 5, 3: 5, 4: 5}
    for number in (1, 2, 3):
        assert max(arrivals.ends[number]) < min(arrivals.jobs[number + 1])


def test_every_node_and_image_has_its_result(tasks: Tasks) -> None:
    images = ("registry.example/result/a:1", "registry.example/result/missing:1", "registry.example/result/denied:1")
    task = tasks.create(*images, batchSize=20)
    done = tasks.finished(task["taskId"])
    assert done["status"] == "failed"
    assert done["failedNodeCount"] == 20
    assert done["errorMessage"].startswith("0 of 20 nodes succeeded")
    (digests,) = done["imageDigests"].values()
    assert list(digests.values()) == [20]
    nodes = tasks.nodes(task["taskId"])
    assert len({node["nodeName"] for node in nodes}) == 20
    for node in nodes:
        found = [(image["pulled"], image["reason"]) for image in node["images"]]
        assert found == [(True, None), (False, "ImageNotFound"), (False, "Unauthorized")]
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", node["images"][0]["digest"])


def test_nodes_that_hold_the_image_are_skipped(tasks: Tasks, kube: Kube) -> None:
    image = "registry.example/skip/a:1"
    tasks.finished(tasks.create(image, batchSize=20)["taskId"])
    until(
        lambda: all(
            any(image in present.names for present in node.status.images or ()) for node in kube.core.list_node().items
        ),
        "nodes report the image",
    )
    again = tasks.create(image)
    assert (again["status"], again["progress"]["skippedNodes"]) == ("completed", 20)
    assert not kube.jobs(again["taskId"])


def test_node_selector_chooses_the_nodes(tasks: Tasks) -> None:
    task = tasks.create("registry.example/selector/a:1", nodeSelector={"pool": "gpu"})
    done = tasks.finished(task["taskId"])
    assert 0 < done["progress"]["totalNodes"] < 20
    assert done["status"] == "completed"


def test_cancelling_halfway_leaves_nothing_and_creates_nothing_more(tasks: Tasks, kube: Kube) -> None:
    task_id = tasks.create("registry.example/cancel/slow3:1", batchSize=5)["taskId"]
    until(lambda: tasks.get(task_id)["progress"]["currentBatch"] == 2, "the second batch opens")
    until(lambda: len(kube.jobs(task_id)) > 5, "its Jobs appear")
    first = tasks.cancel(task_id)
    assert (first.status, first.body["status"]) == (200, "cancelled")
    assert tasks.cancel(task_id).status == 200
    until(lambda: not kube.jobs(task_id) and not kube.pods(task_id), "Jobs and pods are gone", 10)
    arrivals, threads = record(kube, task_id, 3)
    for thread in threads:
        thread.join()
    assert not arrivals.jobs


@pytest.mark.parametrize("function", ["api", "batch", "tracker"])
def test_killed_function_costs_time_but_no_result(stack: Stack, tasks: Tasks, kube: Kube, function: str) -> None:
    task_id = tasks.create(f"registry.example/kill/{function}:1", batchSize=4)["taskId"]
    until(lambda: kube.jobs(task_id), "the first batch begins")
    stack.kill(function)
    stack.start(function)
    done = tasks.finished(task_id)
    assert done["status"] == "completed"
    assert done["progress"]["completedNodes"] == 20
    names = [job.metadata.name for job in kube.jobs(task_id)]
    assert sorted(job.metadata.annotations["image-prewarm/node"] for job in kube.jobs(task_id)) == [
        f"node-{n:05}" for n in range(20)
    ], names


def test_slots_and_queue_let_every_task_through(tasks: Tasks) -> None:
    ids = [tasks.create(f"registry.example/queue/{number}:1", batchSize=20)["taskId"] for number in range(12)]
    assert {tasks.finished(task_id)["status"] for task_id in ids} == {"completed"}
