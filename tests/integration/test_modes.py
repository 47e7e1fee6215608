"""The other ways to pull, on the real parts: same results and reasons as one Job of containers a node."""

import re
from typing import Any

import pytest
from kubernetes import client

from deploy.local.stack import Stack
from tests.integration.access import NAMESPACE, Kube, Tasks, until


@pytest.fixture
def tasks(stack: Stack) -> Tasks:
    return Tasks(stack)


@pytest.fixture
def kube(stack: Stack) -> Kube:
    return Kube(stack)


def check_results(tasks: Tasks, folder: str, **fields: object) -> str:
    """Pull an image that is there and two that are not; every node says so of each."""
    images = tuple(f"registry.example/{folder}/{name}:1" for name in ("a", "missing", "denied"))
    task_id = str(tasks.create(*images, batchSize=20, **fields)["taskId"])
    done = tasks.finished(task_id)
    assert (done["status"], done["failedNodeCount"]) == ("failed", 20)
    nodes = tasks.nodes(task_id)
    assert len({node["nodeName"] for node in nodes}) == 20
    for node in nodes:
        found = [(image["pulled"], image["reason"]) for image in node["images"]]
        assert found == [(True, None), (False, "ImageNotFound"), (False, "Unauthorized")]
        assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", node["images"][0]["digest"] or "")
    return task_id


def daemonsets(kube: Kube, task_id: str) -> Any:
    """Read a task's DaemonSets as an administrator."""
    apps: Any = client.AppsV1Api(kube.core.api_client)
    return apps.list_namespaced_daemon_set(NAMESPACE, label_selector=f"task-id={task_id}").items


def check_gone(kube: Kube, task_id: str) -> None:
    until(lambda: not daemonsets(kube, task_id) and not kube.pods(task_id), "nothing is left")


def test_image_volumes_give_the_same_results(tasks: Tasks, kube: Kube) -> None:
    done = tasks.finished(
        tasks.create("registry.example/volume/ok:1", batchSize=10, pullStrategy="imageVolume")["taskId"]
    )
    assert (done["status"], done["progress"]["completedNodes"]) == ("completed", 20)
    jobs = kube.jobs(done["taskId"])
    assert {job.spec.template.spec.volumes[0].image.reference for job in jobs} == {"registry.example/volume/ok:1"}
    check_results(tasks, "volumes", pullStrategy="imageVolume")


@pytest.mark.parametrize("strategy", ["container", "imageVolume"])
def test_one_daemonset_gives_the_same_results_and_goes(tasks: Tasks, kube: Kube, strategy: str) -> None:
    fields = {"mode": "daemonset", "pullStrategy": strategy, "batchSize": 3}
    image = f"registry.example/daemonset/{strategy.lower()}:1"
    done = tasks.finished(tasks.create(image, **fields)["taskId"])
    assert (done["status"], done["progress"]["completedNodes"]) == ("completed", 20)
    assert (done["progress"]["currentBatch"], done["progress"]["totalBatches"]) == (1, 1)
    failed = check_results(tasks, f"daemonset-{strategy.lower()}", mode="daemonset", pullStrategy=strategy)
    for task_id in (str(done["taskId"]), failed):
        check_gone(kube, task_id)
        assert not kube.jobs(task_id)


def test_cancelling_deletes_the_daemonset(tasks: Tasks, kube: Kube) -> None:
    task_id = str(tasks.create("registry.example/daemonset/slow9:1", mode="daemonset")["taskId"])
    until(lambda: len(kube.pods(task_id)) == 20, "every node has a pod")
    assert len(daemonsets(kube, task_id)) == 1
    assert tasks.cancel(task_id).status == 200
    check_gone(kube, task_id)


def test_node_that_vanishes_is_gone_for_a_daemonset_too(
    emulators: dict[str, str], coverage_env: dict[str, str]
) -> None:
    with Stack(nodes=3, emulators=emulators, env=coverage_env) as small:
        tasks, kube = Tasks(small), Kube(small)
        task_id = str(tasks.create("slow8.example/daemonset:1", mode="daemonset", successThreshold=0.5)["taskId"])
        until(lambda: len(kube.pods(task_id)) == 3, "every node has a pod")
        kube.core.delete_node("node-00002")
        done = tasks.finished(task_id)
    assert [(line["nodeName"], line["reason"]) for line in done["failedNodeDetails"]] == [("node-00002", "NodeGone")]
    assert (done["status"], done["progress"]["completedNodes"]) == ("completed", 2)
