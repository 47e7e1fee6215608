"""What Jobs and pods say, reduced to what deciding about a node needs.

A big task's watch carries tens of thousands of objects of several KiB; only these small records are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any

APP_LABEL = "app"
APP = "image-prewarm"
TASK_LABEL = "task-id"
ATTEMPT_LABEL = "attempt"
BATCH_LABEL = "batch"
NODE_ANNOTATION = "image-prewarm/node"
REQUEST_ANNOTATION = "image-prewarm/request-id"
SELECTOR = f"{APP_LABEL}={APP}"
"""The label selector of everything IPS creates."""

CONTAINER_PREFIX = "image-"
"""What the names of containers and image volumes begin with; the image's index follows."""

_AFTER_PULL = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "PreCreateHookError", "RunContainerError", "StartError"}
)
"""Reasons to wait that a kubelet gives only once the image is on the node."""


@dataclass(frozen=True, slots=True)
class Key:
    """Which node of which attempt a Job or pod works for."""

    task_id: str
    attempt: int
    batch: int
    node: str


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A Job: `finished` is "" while it runs, else `Complete` or `Failed` with the condition's reason and message."""

    key: Key
    name: str
    created: datetime
    finished: str = ""
    reason: str = ""
    message: str = ""
    has_pod: bool = False
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSeen:
    """One image's container: the digest once the kubelet reports it, or the reason it waits."""

    digest: str | None = None  # None: not pulled; "": pulled, digest unknown
    waiting: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod: images in the request's order (index in the container's name).

    `worker` is the init container, `waiting` with the reason if it failed. `reason` and `message` are the pod's own
    (`Evicted`, ...), `unschedulable` holds the scheduler's words.
    """

    key: Key
    job: str
    name: str
    uid: str
    phase: str
    images: Mapping[int, ContainerSeen]
    worker: ContainerSeen | None = None
    scheduled: bool = False
    unschedulable: str = ""
    reason: str = ""
    message: str = ""
    created: datetime | None = None
    daemonset: bool = False  # `job` names a DaemonSet
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """A Job or pod was deleted."""

    kind: str  # "Job" or "Pod"
    key: Key
    name: str


Observation = JobSeen | PodSeen | Gone


def _key(metadata: Mapping[str, Any], node: str | None) -> Key | None:
    """Return the key, or None if this is nothing IPS made: labels can be put on anything by anyone.

    A Job and its pod carry the name of their node; all pods of a DaemonSet carry the same, so theirs is given.
    """
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    try:
        return Key(
            intern(labels[TASK_LABEL]),
            int(labels[ATTEMPT_LABEL]),
            int(labels[BATCH_LABEL]),
            intern(node or annotations[NODE_ANNOTATION]),
        )
    except (KeyError, ValueError):
        return None


def observe(kind: str, event: str, obj: Mapping[str, Any]) -> Observation | None:
    """Reduce a watched object; None for what IPS did not make.

    Args:
        kind: `Job` or `Pod` (objects in a list do not name theirs).
        event: the watch event's type, `ADDED` for an object from a list.
        obj: the object as the API server sent it.
    """
    metadata = obj["metadata"]
    key = _key(metadata, _node(obj) if kind == "Pod" and _of_daemonset(metadata) else None)
    if key is None:
        return None
    if event == "DELETED":
        return Gone(kind, key, metadata["name"])
    return _job(key, metadata, obj) if kind == "Job" else _pod(key, metadata, obj)


def _of_daemonset(metadata: Mapping[str, Any]) -> bool:
    return any(
        owner.get("controller") and owner.get("kind") == "DaemonSet" for owner in metadata.get("ownerReferences") or ()
    )


def _node(pod: Mapping[str, Any]) -> str | None:
    """Return the node a DaemonSet's pod is on, or meant for: its controller pins it by the field `metadata.name`."""
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return None


def _job(key: Key, metadata: Mapping[str, Any], obj: Mapping[str, Any]) -> JobSeen:
    status = obj.get("status") or {}
    finished = reason = message = ""
    for condition in status.get("conditions") or ():
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            finished, reason = condition["type"], condition.get("reason") or ""
            message = condition.get("message") or ""
    ended = status.get("uncountedTerminatedPods") or {}
    has_pod = any(status.get(field) for field in ("active", "succeeded", "failed", "terminating")) or any(
        ended.values()
    )
    return JobSeen(
        key,
        metadata["name"],
        datetime.fromisoformat(metadata["creationTimestamp"]),
        finished,
        reason,
        message,
        has_pod,
        "deletionTimestamp" in metadata,
    )


def _pod(key: Key, metadata: Mapping[str, Any], obj: Mapping[str, Any]) -> PodSeen:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    scheduled, unschedulable = bool(spec.get("nodeName")), ""
    reason, message = status.get("reason") or "", status.get("message") or ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            unschedulable = condition.get("message") or condition.get("reason") or "Unschedulable"
        elif condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            reason, message = reason or condition.get("reason") or "", message or condition.get("message") or ""
    of_volume = any("image" in volume for volume in spec.get("volumes") or ())
    images: dict[int, ContainerSeen] = {}
    for container in status.get("containerStatuses") or ():
        name = container["name"]
        if name.startswith(CONTAINER_PREFIX) and name[len(CONTAINER_PREFIX) :].isdigit():
            image_id = _volume_image_id(container) if of_volume else container.get("imageID") or ""
            images[int(name[len(CONTAINER_PREFIX) :])] = _container(container, image_id)
    owners = metadata.get("ownerReferences") or ()
    return PodSeen(
        key=key,
        job=next((owner["name"] for owner in owners if owner.get("controller")), ""),
        name=metadata["name"],
        uid=metadata["uid"],
        phase=status.get("phase") or "Pending",
        images=images,
        worker=_worker(status),
        scheduled=scheduled,
        unschedulable=unschedulable,
        reason=reason,
        message=message,
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        daemonset=_of_daemonset(metadata),
        terminating="deletionTimestamp" in metadata,
    )


def _worker(status: Mapping[str, Any]) -> ContainerSeen | None:
    for container in status.get("initContainerStatuses") or ():
        image_id = container.get("imageID") or ""
        state = container.get("state") or {}
        ended = state.get("terminated")
        if (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            ended = (container.get("lastState") or {}).get("terminated")
        if ended and ended.get("exitCode") != 0:
            return ContainerSeen(
                _digest(image_id),
                ended.get("reason") or "Error",
                ended.get("message") or f"exit code {ended.get('exitCode')}",
            )
        return _container(container, image_id)
    return None


def _container(container: Mapping[str, Any], image_id: str) -> ContainerSeen:
    state = container.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    ran = "running" in state or terminated.get("startedAt") or waiting.get("reason") in _AFTER_PULL
    if image_id or ran:
        return _seen(_digest(image_id), "", "")
    return _seen(None, waiting.get("reason") or "", waiting.get("message") or "")


@lru_cache(maxsize=1024)
def _seen(digest: str | None, waiting: str, message: str) -> ContainerSeen:
    """Share equal records: thousands of nodes say the same of an image."""
    return ContainerSeen(digest, waiting, message)


def _volume_image_id(container: Mapping[str, Any]) -> str:
    """Return what a kubelet that reports it resolved the container's image volume to."""
    for mount in container.get("volumeMounts") or ():
        image = (mount.get("volumeStatus") or {}).get("image") or {}
        if image.get("imageRef"):
            return str(image["imageRef"])
    return ""


def _digest(image_id: str) -> str:
    """Return the manifest digest in an imageID such as `docker.io/library/nginx@sha256:…`.

    A bare `sha256:…` is the id of the image's configuration, not a digest anybody could pull.
    """
    _, at, digest = image_id.rpartition("@")
    return digest if at else ""
