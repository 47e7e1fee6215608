"""The other ways to pull, on the real parts: same results and reasons as one Job of containers a node."""

import re

import pytest

from deploy.local.stack import Stack
from tests.integration.access import Kube, Tasks


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


def test_image_volumes_give_the_same_results(tasks: Tasks, kube: Kube) -> None:
    done = tasks.finished(
        tasks.create("registry.example/volume/ok:1", batchSize=10, pullStrategy="imageVolume")["taskId"]
    )
    assert (done["status"], done["progress"]["completedNodes"]) == ("completed", 20)
    jobs = kube.jobs(done["taskId"])
    assert {job.spec.template.spec.volumes[0].image.reference for job in jobs} == {"registry.example/volume/ok:1"}
    check_results(tasks, "volumes", pullStrategy="imageVolume")
