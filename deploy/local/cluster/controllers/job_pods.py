"""A Job's pods: which there are, and how they are made, counted and let go."""

from dataclasses import dataclass, field
from typing import Any

from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.events import EventRecorder
from deploy.local.cluster.kinds import JOBS, PODS
from deploy.local.cluster.pods import Pod
from deploy.local.cluster.registry import DeleteOptions, Registry
from deploy.local.cluster.store import Key

# By this finalizer a Job holds a pod until it is counted.
TRACKING = "batch.kubernetes.io/job-tracking"
COMPONENT = "job-controller"


@dataclass(slots=True)
class Pods:
    """A Job's pods, sorted by what they mean to it."""

    active: list[Pod] = field(default_factory=list)
    terminating: list[Pod] = field(default_factory=list)
    # Ended but not counted yet: still held by the tracking finalizer.
    succeeded: list[Pod] = field(default_factory=list)
    failed: list[Pod] = field(default_factory=list)


class JobPods:
    """What the Job controller does to pods."""

    def __init__(self, registry: Registry, events: EventRecorder) -> None:
        self._registry = registry
        self._store = registry.store
        self._events = events

    def sort(self, job: dict[str, Any]) -> Pods:
        """The Job's pods as they are now."""
        pods = Pods()
        for kind, item in self._store.owned_by(job["metadata"]["uid"]):
            if kind is not PODS:
                continue
            pod, meta = item.obj, item.obj["metadata"]
            phase = pod["status"]["phase"]
            held = TRACKING in meta.get("finalizers", ())
            if phase == "Succeeded":
                if held:
                    pods.succeeded.append(pod)
            elif phase == "Failed" or meta.get("deletionTimestamp"):
                # A pod on its way out counts as failed: it may never get as far as a phase.
                if held:
                    pods.failed.append(pod)
                if phase != "Failed":
                    pods.terminating.append(pod)
            else:
                pods.active.append(pod)
        return pods

    def create(self, job: dict[str, Any], pods: Pods) -> bool:
        """Create one pod; False if it was refused, which an Event tells."""
        meta = job["metadata"]
        template = job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        pod_meta = {
            "generateName": meta["name"] + "-",
            **(template.get("metadata") or {}),
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            "finalizers": [TRACKING],
        }
        pod = {"metadata": pod_meta, "spec": template["spec"]}
        try:
            item, _ = self._registry.create(PODS, meta["namespace"], pod, of_template=True)
        except ApiError as error:
            self._event(job, "FailedCreate", f"Error creating: {error.message}", warning=True)
            return False
        pods.active.append(item.obj)
        self._event(job, "SuccessfulCreate", f"Created pod: {item.key[1]}")
        return True

    def delete(self, job: dict[str, Any], pods: Pods) -> None:
        """Delete the active pods; what is left of them is on its way out."""
        for pod in pods.active:
            key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            self._registry.delete(PODS, key, DeleteOptions(policy="Background"))
            self._event(job, "SuccessfulDelete", f"Deleted pod: {key[1]}")
            if (item := self._store.get(PODS, key)) is not None:
                pods.terminating.append(item.obj)
        pods.active.clear()

    def release(self, *pods: Pod) -> None:
        """Let pods go: they are counted."""
        for pod in pods:
            self.release_key((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    def release_all(self, job: dict[str, Any]) -> None:
        """Let go of whatever pods a Job still holds."""
        for kind, item in self._store.owned_by(job["metadata"]["uid"]):
            if kind is PODS and TRACKING in item.obj["metadata"].get("finalizers", ()):
                self.release_key(item.key)

    def release_key(self, key: Key) -> None:
        """Let one pod go, if it is there."""

        def without(pod: dict[str, Any]) -> dict[str, Any]:
            meta = dict(pod["metadata"])
            set_unless_zero(meta, "finalizers", [one for one in meta.get("finalizers", ()) if one != TRACKING])
            return {**pod, "metadata": meta}

        self._registry.edit(PODS, key, without)

    def _event(self, job: dict[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        self._events.record(JOBS, job, reason, message, component=COMPONENT, warning=warning)


def controlling_job(meta: dict[str, Any]) -> dict[str, Any] | None:
    """The Job that controls a pod."""
    for owner in meta.get("ownerReferences") or ():
        if owner.get("controller") and owner["kind"] == "Job":
            return dict(owner)
    return None


def uncounted(pods: Pods) -> dict[str, list[str]]:
    """The UIDs of the pods that ended but are not counted yet."""
    ended = {"succeeded": pods.succeeded, "failed": pods.failed}
    return {name: [pod["metadata"]["uid"] for pod in some] for name, some in ended.items() if some}


def set_unless_zero(status: dict[str, Any], field_name: str, value: Any) -> None:
    """Go leaves zero counts and empty lists out."""
    if value:
        status[field_name] = value
    else:
        status.pop(field_name, None)
