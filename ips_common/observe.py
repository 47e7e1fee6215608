"""What Jobs and pods say, reduced to what deciding about a node needs.

A big task's watch carries tens of thousands of objects of several KiB; only these small records are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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

    `worker` is the init container's state if it keeps the pod from starting, `reason` and `message` the pod's own
    (`Evicted`, ...), `unschedulable` the scheduler's words.
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


@dataclass(frozen=True, slots=True)
class Gone:
    """A Job or pod was deleted."""

    kind: str  # "Job" or "Pod"
    key: Key
    name: str


Observation = JobSeen | PodSeen | Gone


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _key(metadata: Mapping[str, Any]) -> Key | None:
    """Return the key, or None if this is nothing IPS made: labels can be put on anything by anyone."""
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    try:
        return Key(
            labels[TASK_LABEL], int(labels[ATTEMPT_LABEL]), int(labels[BATCH_LABEL]), annotations[NODE_ANNOTATION]
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
    key = _key(metadata)
    if key is None:
        return None
    if event == "DELETED":
        return Gone(kind, key, metadata["name"])
    return _job(key, metadata, obj) if kind == "Job" else _pod(key, metadata, obj)


def _job(key: Key, metadata: Mapping[str, Any], obj: Mapping[str, Any]) -> JobSeen:
    status = obj.get("status") or {}
    finished = reason = message = ""
    for condition in status.get("conditions") or ():
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True":
            finished, reason = condition["type"], condition.get("reason") or ""
            message = condition.get("message") or ""
    has_pod = any(status.get(field) for field in ("active", "succeeded", "failed", "terminating"))
    return JobSeen(
        key,
        metadata["name"],
        _time(metadata["creationTimestamp"]) or datetime.now(UTC),
        finished,
        reason,
        message,
        has_pod,
        "deletionTimestamp" in metadata,
    )


def _pod(key: Key, metadata: Mapping[str, Any], obj: Mapping[str, Any]) -> PodSeen:
    status = obj.get("status") or {}
    scheduled, unschedulable = bool((obj.get("spec") or {}).get("nodeName")), ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            unschedulable = condition.get("message") or condition.get("reason") or "Unschedulable"
    images: dict[int, ContainerSeen] = {}
    for container in status.get("containerStatuses") or ():
        name = container["name"]
        if name.startswith(CONTAINER_PREFIX) and name[len(CONTAINER_PREFIX) :].isdigit():
            images[int(name[len(CONTAINER_PREFIX) :])] = _container(container)
    worker = None
    for container in status.get("initContainerStatuses") or ():
        terminated = (container.get("state") or {}).get("terminated")
        if not (terminated and terminated.get("exitCode") == 0):
            worker = _container(container)
            if terminated:
                reason = terminated.get("reason") or "Error"
                worker = ContainerSeen(
                    worker.digest, reason, terminated.get("message") or f"exit code {terminated.get('exitCode')}"
                )
    owners = metadata.get("ownerReferences") or ()
    return PodSeen(
        key=key,
        job=next((owner["name"] for owner in owners if owner.get("controller")), ""),
        name=metadata["name"],
        uid=metadata["uid"],
        phase=status.get("phase") or "Pending",
        images=images,
        worker=worker,
        scheduled=scheduled,
        unschedulable=unschedulable,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        created=_time(metadata.get("creationTimestamp")),
    )


def _container(container: Mapping[str, Any]) -> ContainerSeen:
    image_id = container.get("imageID") or ""
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    if image_id:
        return ContainerSeen(digest=_digest(image_id))
    if state.get("running"):
        return ContainerSeen(digest="")
    return ContainerSeen(waiting=waiting.get("reason") or "", message=waiting.get("message") or "")


def _digest(image_id: str) -> str:
    """Return the manifest digest in an imageID such as `docker.io/library/nginx@sha256:…`.

    A bare `sha256:…` is the id of the image's configuration, not a digest anybody could pull.
    """
    _, at, digest = image_id.rpartition("@")
    return digest if at else ""
