"""The Kubernetes objects IPS creates, as pure functions of a task.

The kubelet pulls an image because a container, or a volume, names it. The container then runs a program that does
nothing. Target images may hold no program at all, so an init container copies one that needs nothing around it:
BusyBox, linked statically, does what the name it is called by says: `true` ends at once, `sleep` stays.

Everything passes Pod Security `restricted`, and nothing of a target image is executed.
"""

from collections.abc import Mapping, Sequence

from ips_common.models.task import PullStrategy, Task, TaskSpec
from ips_common.naming import daemonset_name, job_name
from ips_common.observe import (
    APP,
    APP_LABEL,
    ATTEMPT_LABEL,
    BATCH_LABEL,
    CONTAINER_PREFIX,
    NODE_ANNOTATION,
    REQUEST_ANNOTATION,
    TASK_LABEL,
)
from ips_common.ports.cluster import Json

USER = 65532
"""Any user but root will do; this one is `nonroot` in distroless images."""

_END = ("true",)
_STAY = ("sleep", "2147483647")  # seconds, the most that every libc takes
_FOLDER = "/prewarm"
_VOLUME = "prewarm"
_MOUNT = {"name": _VOLUME, "mountPath": _FOLDER}
_REQUESTS = {"cpu": "1m", "memory": "4Mi"}


def job(
    task: Task,
    batch: int,
    node: str,
    *,
    namespace: str,
    worker_image: str,
    worker_pull_policy: str,
    priority_class: str | None = None,
    ttl_seconds: int,
    request_id: str | None,
) -> Json:
    """Return the Job that pulls the task's images onto one node in the task's current attempt.

    Args:
        task: what to pull and how.
        batch: the number of the node's batch, from 1.
        node: the node's name.
        namespace: where Jobs live.
        worker_image: an image with a static BusyBox at `/bin/busybox`.
        worker_pull_policy: the `imagePullPolicy` of the worker image.
        priority_class: the PriorityClass of the pods; None leaves it to the cluster.
        ttl_seconds: how long the Job stays after it has finished.
        request_id: the id of the request that caused this, for whoever follows it through the logs.
    """
    labels = {
        APP_LABEL: APP,
        TASK_LABEL: task.task_id,
        ATTEMPT_LABEL: str(task.attempt),
        BATCH_LABEL: str(batch),
    }
    annotations = {NODE_ANNOTATION: node} | ({REQUEST_ANNOTATION: request_id} if request_id else {})
    pod = _pod(task.spec, [node], worker_image, worker_pull_policy, _END) | {"restartPolicy": "Never"}
    pod |= {"priorityClassName": priority_class} if priority_class else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(task.task_id, task.attempt, node),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": task.spec.timeout_seconds,
            "ttlSecondsAfterFinished": ttl_seconds,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        },
    }


def daemonset(
    task: Task,
    nodes: Sequence[str],
    *,
    namespace: str,
    worker_image: str,
    worker_pull_policy: str,
    priority_class: str | None = None,
    request_id: str | None,
) -> Json:
    """Return the DaemonSet that pulls the task's images onto all nodes of its current attempt.

    Its pods must never end, or they would be started again and again: they sleep until the set is deleted.

    Args:
        task: what to pull and how.
        nodes: the nodes' names.
        namespace: where it lives.
        worker_image: an image with a static BusyBox at `/bin/busybox`.
        worker_pull_policy: the `imagePullPolicy` of the worker image.
        priority_class: the PriorityClass of the pods; None leaves it to the cluster.
        request_id: the id of the request that caused this, for whoever follows it through the logs.
    """
    labels = {APP_LABEL: APP, TASK_LABEL: task.task_id, ATTEMPT_LABEL: str(task.attempt), BATCH_LABEL: "1"}
    annotations = {REQUEST_ANNOTATION: request_id} if request_id else {}
    pod = _pod(task.spec, nodes, worker_image, worker_pull_policy, _STAY) | {"restartPolicy": "Always"}
    pod |= {"priorityClassName": priority_class} if priority_class else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": daemonset_name(task.task_id, task.attempt),
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
        },
    }


def image_volume_probe(namespace: str) -> Json:
    """Return a Job with an image volume that is only to be checked, never to be created."""
    spec = TaskSpec(images=("registry.example/probe:1",), pull_strategy=PullStrategy.IMAGE_VOLUME)
    pod = _pod(spec, ["probe"], "registry.example/worker:1", "IfNotPresent", _END) | {"restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "image-volume-probe", "namespace": namespace},
        "spec": {"template": {"spec": pod}},
    }


def _pod(
    spec: TaskSpec, nodes: Sequence[str], worker_image: str, worker_pull_policy: str, program: Sequence[str]
) -> Json:
    worker = {"image": worker_image, "imagePullPolicy": worker_pull_policy}
    if spec.pull_strategy is PullStrategy.IMAGE_VOLUME:
        parts = _image_volumes(spec, worker, program)
    else:
        parts = _containers(spec, worker, program)
    pod: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _only(nodes)}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **parts,
    }
    if spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in spec.image_pull_secrets]
    return pod


def _only(nodes: Sequence[str]) -> Json:
    """Select nodes by name; the terms are alternatives, and a term may name only one node."""
    return {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]} for node in nodes
        ]
    }


def _containers(spec: TaskSpec, worker: Mapping[str, str], program: Sequence[str]) -> Json:
    """One container per image: they are pulled independently of each other, which init containers are not."""
    name, *arguments = program
    installed = f"{_FOLDER}/{name}"
    install = _container("install", worker, ["cp", "/bin/busybox", installed], _MOUNT)
    return {
        "initContainers": [install],
        "containers": [
            _container(
                f"{CONTAINER_PREFIX}{index}",
                {"image": image, "imagePullPolicy": spec.pull_policy.value},
                [installed, *arguments],
                _MOUNT | {"readOnly": True},
            )
            for index, image in enumerate(spec.images)
        ],
        "volumes": [{"name": _VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}],
    }


def _image_volumes(spec: TaskSpec, worker: Mapping[str, str], program: Sequence[str]) -> Json:
    """One volume per image, each mounted by a container of its own.

    A volume that cannot be pulled keeps only those containers waiting that mount it, and tells its reason there.
    """
    names = [f"{CONTAINER_PREFIX}{index}" for index in range(len(spec.images))]
    return {
        "containers": [
            _container(name, worker, ["/bin/busybox", *program], {"name": name, "mountPath": "/image"})
            for name in names
        ],
        "volumes": [
            {"name": name, "image": {"reference": image, "pullPolicy": spec.pull_policy.value}}
            for name, image in zip(names, spec.images, strict=True)
        ],
    }


def _container(name: str, image: Mapping[str, str], command: Sequence[str], mount: Mapping[str, object]) -> Json:
    return {
        "name": name,
        **image,
        "command": list(command),
        "resources": {"requests": dict(_REQUESTS)},
        "volumeMounts": [dict(mount)],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
