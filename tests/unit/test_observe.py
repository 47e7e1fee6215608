"""What a real control plane said (recorded) and what a kubelet may say besides, reduced."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ips_common.observe import ContainerSeen, Gone, JobSeen, Key, Observation, PodSeen, observe

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "observe" / "recorded.json").read_text(encoding="utf-8"))
KEY = Key("task-1", 0, 3, "node-00001")
IDENTITY = {
    "labels": {"app": "image-prewarm", "task-id": "task-1", "attempt": "0", "batch": "3"},
    "annotations": {"image-prewarm/node": "node-00001"},
}
DIGEST = "sha256:" + "a" * 64


def recorded(name: str) -> list[dict[str, Any]]:
    """Return recorded events; they were made by Jobs without our attempt, batch and annotation, which are added."""
    events: list[dict[str, Any]] = json.loads(json.dumps(RECORDED[name]))
    for event in events:
        metadata = event["object"]["metadata"]
        metadata["labels"] = metadata["labels"] | IDENTITY["labels"]
        metadata["annotations"] = IDENTITY["annotations"]
    return events


def seen(kind: str, name: str) -> list[Observation]:
    return [each for event in recorded(name) if (each := observe(kind, event["type"], event["object"]))]


def pod(status: dict[str, Any], spec: dict[str, Any] | None = None) -> PodSeen:
    metadata = IDENTITY | {"name": "p", "uid": "u", "creationTimestamp": "2026-11-24T03:41:28Z"}
    observed = observe("Pod", "MODIFIED", {"metadata": metadata, "spec": spec or {}, "status": status})
    assert isinstance(observed, PodSeen)
    return observed


def container(state: dict[str, Any], image_id: str = "", **more: Any) -> dict[str, Any]:
    return {"name": "image-0", "state": state, "imageID": image_id, **more}


def test_a_job_is_seen_from_creation_to_deletion() -> None:
    life = seen("Job", "life of a job")

    assert [each.finished for each in life if isinstance(each, JobSeen)] == ["", "", "", "Complete", "Complete"]
    assert [each.has_pod for each in life if isinstance(each, JobSeen)] == [False, True, True, True, True]
    assert [each.terminating for each in life if isinstance(each, JobSeen)] == [False, False, False, False, True]
    assert life[0] == JobSeen(KEY, "life", datetime(2026, 11, 24, 3, 41, 28, tzinfo=UTC))
    assert life[-1] == Gone("Job", KEY, "life")


def test_a_pod_is_seen_from_creation_to_deletion() -> None:
    life = seen("Pod", "life of a pod")
    pods = [each for each in life if isinstance(each, PodSeen)]

    assert [each.phase for each in pods] == ["Pending", "Pending", "Pending", "Succeeded", "Succeeded", "Succeeded"]
    assert [each.scheduled for each in pods] == [False, True, True, True, True, True]
    assert {each.job for each in pods} == {"life"}
    assert pods[0].worker is None
    assert pods[2].worker == ContainerSeen(waiting="PodInitializing")
    assert pods[2].images == {0: ContainerSeen(waiting="PodInitializing"), 1: ContainerSeen(waiting="PodInitializing")}
    assert all(image.digest and image.digest.startswith("sha256:") for image in pods[3].images.values())
    assert pods[3].worker is not None
    assert pods[3].worker.digest
    assert life[-1] == Gone("Pod", KEY, "life-xvz6b")


def test_a_missing_image_beside_a_good_one() -> None:
    (half,) = seen("Pod", "pod with a missing image")
    assert isinstance(half, PodSeen)

    assert half.images[0].digest
    assert half.images[1].digest is None
    assert half.images[1].waiting == "ImagePullBackOff"
    assert half.images[1].message.endswith("registry.example/missing:1: not found")


def test_a_job_past_its_deadline() -> None:
    (late,) = seen("Job", "job past its deadline")
    assert isinstance(late, JobSeen)

    assert (late.finished, late.reason) == ("Failed", "DeadlineExceeded")
    assert late.message == "Job was active longer than specified deadline"


def test_an_unschedulable_pod_carries_the_schedulers_words() -> None:
    (lost,) = seen("Pod", "unschedulable pod")
    assert isinstance(lost, PodSeen)

    assert not lost.scheduled
    assert lost.unschedulable.startswith("0/1000 nodes are available")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(
            container({"running": {}}, f"docker.io/library/nginx@{DIGEST}"), ContainerSeen(DIGEST), id="running"
        ),
        pytest.param(container({"running": {}}), ContainerSeen(""), id="running, digest not reported"),
        pytest.param(
            container({"running": {}}, f"sha256:{'b' * 64}"), ContainerSeen(""), id="an image id is no digest"
        ),
        pytest.param(
            container({"terminated": {"exitCode": 128, "reason": "StartError"}}, f"nginx@{DIGEST}"),
            ContainerSeen(DIGEST),
            id="pulled but could not start",
        ),
        pytest.param(
            container({"waiting": {"reason": "CreateContainerError", "message": "no command"}}),
            ContainerSeen(""),
            id="pulled but could not be created",
        ),
        pytest.param(
            container({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}}),
            ContainerSeen(),
            id="ended before it was pulled",
        ),
        pytest.param(
            container({"waiting": {"reason": "ErrImagePull", "message": "denied"}}),
            ContainerSeen(None, "ErrImagePull", "denied"),
            id="cannot be pulled",
        ),
        pytest.param({"name": "image-0"}, ContainerSeen(), id="nothing known"),
    ],
)
def test_what_a_container_says_of_its_image(status: dict[str, Any], expected: ContainerSeen) -> None:
    assert pod({"containerStatuses": [status]}).images == {0: expected}


def test_equal_words_of_many_nodes_are_kept_once() -> None:
    first, second = (pod({"containerStatuses": [container({"running": {}}, f"nginx@{DIGEST}")]}) for _ in range(2))

    assert first.images[0] is second.images[0]


def test_an_image_volume_is_not_mistaken_for_the_worker_image_that_mounts_it() -> None:
    spec = {"volumes": [{"name": "image-0", "image": {"reference": "nginx:1.27"}}]}
    worker = f"busybox@sha256:{'f' * 64}"
    mount = {"name": "image-0", "volumeStatus": {"image": {"imageRef": f"docker.io/library/nginx@{DIGEST}"}}}

    silent = pod({"containerStatuses": [container({"running": {}}, worker)]}, spec)
    telling = pod({"containerStatuses": [container({"running": {}}, worker, volumeMounts=[mount])]}, spec)
    waiting = pod({"containerStatuses": [container({"waiting": {"reason": "ImagePullBackOff"}})]}, spec)

    assert silent.images == {0: ContainerSeen("")}
    assert telling.images == {0: ContainerSeen(DIGEST)}
    assert waiting.images == {0: ContainerSeen(waiting="ImagePullBackOff")}


def test_an_init_container_that_fails_says_why() -> None:
    failed = {"name": "install", "imageID": f"busybox@{DIGEST}", "state": {"terminated": {"exitCode": 2}}}
    waiting = {"name": "install", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}

    again = failed | {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": failed["state"]}

    assert pod({"initContainerStatuses": [failed]}).worker == ContainerSeen(DIGEST, "Error", "exit code 2")
    assert pod({"initContainerStatuses": [again]}).worker == ContainerSeen(DIGEST, "Error", "exit code 2")
    assert pod({"initContainerStatuses": [waiting]}).worker == ContainerSeen(None, "ErrImagePull", "not found")


def test_a_pod_says_why_it_was_ended() -> None:
    disrupted = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "preempted for a more important pod",
    }

    assert pod({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}).reason == "Evicted"
    assert pod({"phase": "Failed", "conditions": [disrupted]}).reason == "PreemptionByScheduler"
    assert pod({"phase": "Failed", "conditions": [disrupted]}).message == "preempted for a more important pod"


def test_containers_that_are_not_ours_are_left_out() -> None:
    sidecars = [container({"running": {}}) | {"name": name} for name in ("istio-proxy", "image-x", "image-")]

    assert pod({"containerStatuses": sidecars}).images == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"labels": IDENTITY["labels"]},
        {"labels": IDENTITY["labels"] | {"batch": "many"}, "annotations": IDENTITY["annotations"]},
        {"labels": None, "annotations": None},
    ],
)
def test_what_ips_did_not_make_is_not_observed(metadata: dict[str, Any]) -> None:
    assert observe("Job", "ADDED", {"metadata": {"name": "x"} | metadata}) is None
