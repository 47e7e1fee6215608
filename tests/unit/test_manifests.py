import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ips_common.manifests import daemonset, job
from ips_common.models.task import Mode, PullPolicy, PullStrategy, Task, TaskSpec
from ips_common.observe import Key, PodSeen, observe
from ips_common.ports.cluster import Json

DATA = Path(__file__).parents[1] / "data" / "manifests"
CREATED = datetime(2026, 11, 24, 8, 15, 30, tzinfo=UTC)
DIGEST = "sha256:" + "c" * 64
PLAIN = TaskSpec(images=("nginx:1.27",))
FULL = TaskSpec(
    images=("nginx:1.27", f"registry.example:5000/team/model@{DIGEST}"),
    pull_policy=PullPolicy.ALWAYS,
    timeout_seconds=1800,
    image_pull_secrets=("registry", "mirror.registry"),
)
VOLUMES = TaskSpec(images=FULL.images, pull_strategy=PullStrategy.IMAGE_VOLUME)


def make(spec: TaskSpec, *, attempt: int = 0, request_id: str | None = None) -> Json:
    task = Task(task_id="task-20261124081530-1a2b3c4d", spec=spec, created_at=CREATED, attempt=attempt)
    return job(
        task,
        3,
        "gke-prod-pool-1-8f4b2a3c-x7k2.c.project.internal",
        namespace="ips",
        worker_image="mirror.gcr.io/library/busybox:1.37.0-musl",
        worker_pull_policy="IfNotPresent",
        ttl_seconds=3600,
        request_id=request_id,
    )


def make_set(spec: TaskSpec, nodes: int = 2) -> Json:
    task = Task(
        task_id="task-20261124081530-1a2b3c4d",
        spec=spec.model_copy(update={"mode": Mode.DAEMONSET}),
        created_at=CREATED,
        attempt=1,
    )
    return daemonset(
        task,
        [f"node-{index}" for index in range(nodes)],
        namespace="ips",
        worker_image="mirror.gcr.io/library/busybox:1.37.0-musl",
        worker_pull_policy="IfNotPresent",
        request_id="4bf92f3577b34da6",
    )


@pytest.mark.parametrize(
    ("golden", "manifest"),
    [
        ("job", make(PLAIN)),
        ("job-with-everything", make(FULL, attempt=2, request_id="4bf92f3577b34da6")),
        ("job-of-image-volumes", make(VOLUMES)),
        ("daemonset", make_set(FULL)),
        ("daemonset-of-image-volumes", make_set(VOLUMES)),
    ],
)
def test_jobs_are_as_reviewed(golden: str, manifest: Json) -> None:
    expected = json.loads((DATA / f"{golden}.json").read_text(encoding="utf-8"))

    assert manifest == expected


@pytest.mark.parametrize("manifest", [make(PLAIN), make(FULL), make(VOLUMES), make_set(FULL), make_set(VOLUMES)])
def test_pods_meet_pod_security_restricted(manifest: Json) -> None:
    pod = manifest["spec"]["template"]["spec"]
    containers: list[dict[str, Any]] = [*pod.get("initContainers", []), *pod["containers"]]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} <= {"emptyDir", "image"}
    for container in containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "privileged" not in context


def test_pods_have_the_priority_that_is_configured() -> None:
    task = Task(task_id="task-20261124081530-1a2b3c4d", spec=PLAIN, created_at=CREATED)
    common: dict[str, Any] = {"namespace": "ips", "worker_image": "w", "worker_pull_policy": "Always"}
    one = job(task, 1, "n", ttl_seconds=60, request_id=None, priority_class="low", **common)
    many = daemonset(task, ["n"], request_id=None, priority_class="low", **common)

    assert one["spec"]["template"]["spec"]["priorityClassName"] == "low"
    assert many["spec"]["template"]["spec"]["priorityClassName"] == "low"
    assert "priorityClassName" not in make(PLAIN)["spec"]["template"]["spec"]


def test_fifty_images_ask_for_little() -> None:
    spec = TaskSpec(images=tuple(f"registry.example/image:{index}" for index in range(50)))
    containers = make(spec)["spec"]["template"]["spec"]["containers"]

    assert [container["name"] for container in containers] == [f"image-{index}" for index in range(50)]
    assert {json.dumps(container["resources"]) for container in containers} == {
        '{"requests": {"cpu": "1m", "memory": "4Mi"}}'
    }


def test_a_daemonset_of_5000_nodes_is_small_enough_to_be_stored() -> None:
    manifest = make_set(TaskSpec(images=tuple(f"registry.example/image:{index}" for index in range(50))), nodes=5000)

    assert len(json.dumps(manifest)) < 1024 * 1024


def test_a_pod_of_a_daemonset_is_recognised_by_the_node_it_is_for() -> None:
    manifest = make_set(PLAIN)
    template = manifest["spec"]["template"]
    metadata = template["metadata"] | {
        "name": "p",
        "uid": "u",
        "creationTimestamp": "2026-11-24T08:15:31Z",
        "ownerReferences": [{"kind": "DaemonSet", "name": manifest["metadata"]["name"], "controller": True}],
    }
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    expected = Key("task-20261124081530-1a2b3c4d", 1, 1, "node-1")

    waiting = observe("Pod", "ADDED", {"metadata": metadata, "spec": {"affinity": affinity}, "status": {}})
    bound = observe("Pod", "MODIFIED", {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": {}})
    lost = observe("Pod", "ADDED", {"metadata": metadata, "spec": {}, "status": {}})

    assert isinstance(waiting, PodSeen)
    assert isinstance(bound, PodSeen)
    assert (waiting.key, bound.key, waiting.daemonset, waiting.scheduled) == (expected, expected, True, False)
    assert lost is None


def test_what_is_made_is_recognised_when_it_is_seen() -> None:
    manifest = make(FULL, attempt=2)
    seen = observe(
        "Job", "ADDED", manifest | {"metadata": manifest["metadata"] | {"creationTimestamp": "2026-11-24T08:15:31Z"}}
    )

    assert seen is not None
    assert seen.key == Key("task-20261124081530-1a2b3c4d", 2, 3, "gke-prod-pool-1-8f4b2a3c-x7k2.c.project.internal")
    assert manifest["spec"]["template"]["metadata"] == {
        "labels": manifest["metadata"]["labels"],
        "annotations": manifest["metadata"]["annotations"],
    }
