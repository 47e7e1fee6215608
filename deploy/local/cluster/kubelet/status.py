"""The status a kubelet reports for a pod: pure functions of what its containers are doing."""

from dataclasses import dataclass, field
from typing import Any

from deploy.local.cluster.pods import ENDED

# The simulated runtime's only container; nothing can be looked up by it.
CONTAINER_ID = "containerd://x"
HOST_IP = "10.1.0.1"


@dataclass(slots=True)
class Container:
    """One container of a pod, as its kubelet sees it."""

    name: str
    image: str
    policy: str
    mounts: tuple[str, ...]
    state: dict[str, Any]
    last_state: dict[str, Any] = field(default_factory=dict)
    image_id: str = ""
    restarts: int = 0

    @property
    def pending(self) -> bool:
        """Whether it has yet to be started, for the first time or again."""
        return "waiting" in self.state

    @property
    def waiting_for(self) -> str:
        """The reason it gives for not having been started."""
        return str(self.state.get("waiting", {}).get("reason", ""))

    @property
    def crashed(self) -> bool:
        """Whether it ended and is not to be started again yet."""
        return self.waiting_for == "CrashLoopBackOff"

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it did."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def status(self) -> dict[str, Any]:
        """Its entry in the pod's status."""
        return {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.running or self.exit_code == 0,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": self.image_id,
            "started": self.running,
        }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The state of a container that has not been started."""
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def running(at: str) -> dict[str, Any]:
    """The state of a container that runs."""
    return {"running": {"startedAt": at}}


def terminated(exit_code: int, started: str, finished: str) -> dict[str, Any]:
    """The state of a container that ended."""
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "startedAt": started,
            "finishedAt": finished,
            "containerID": CONTAINER_ID,
        }
    }


def phase(init: list[Container], regular: list[Container], *, restarts: bool) -> str:
    """The pod's phase, decided as the kubelet decides it."""
    if not restarts and any(container.exit_code not in {None, 0} for container in init):
        return "Failed"
    if any(container.exit_code != 0 for container in init):
        return "Pending"
    # A container that waits to be started again counts as stopped.
    if any(container.pending and not container.last_state for container in regular):
        return "Pending"
    if any(container.running or container.pending for container in regular):
        return "Running"
    if restarts:
        return "Running"
    return "Succeeded" if all(container.exit_code == 0 for container in regular) else "Failed"


def pod_status(
    old: dict[str, Any], init: list[Container], regular: list[Container], *, now: str, phase_now: str
) -> dict[str, Any]:
    """The whole status; a pod that has ended keeps only why it is not ready."""
    ready = phase_now == "Running" and all(container.running for container in regular)
    status = {
        "phase": phase_now,
        "conditions": _conditions(old, now, phase_now, ready=ready),
        "hostIP": HOST_IP,
        "startTime": old.get("startTime", now),
        "qosClass": old["qosClass"],
    }
    if init:
        status["initContainerStatuses"] = [container.status() for container in init]
    status["containerStatuses"] = [container.status() for container in regular]
    return status


def _conditions(old: dict[str, Any], now: str, phase_now: str, *, ready: bool) -> list[dict[str, Any]]:
    before = {one["type"]: one for one in old.get("conditions") or ()}
    if phase_now in ENDED:
        reason = "PodCompleted" if phase_now == "Succeeded" else "PodFailed"
        return [_condition("Ready", now, before, ready=False, reason=reason)]
    scheduled = [before["PodScheduled"]] if "PodScheduled" in before else []
    return [*scheduled, _condition("Ready", now, before, ready=ready)] if phase_now == "Running" else scheduled


def _condition(
    kind: str, now: str, before: dict[str, dict[str, Any]], *, ready: bool, reason: str = ""
) -> dict[str, Any]:
    status = "True" if ready else "False"
    since = before[kind]["lastTransitionTime"] if before.get(kind, {}).get("status") == status else now
    condition = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    if not ready:
        condition["reason"] = reason or "ContainersNotReady"
    return condition


def rejected(old: dict[str, Any], now: str, reason: str, message: str) -> dict[str, Any]:
    """The status of a pod that the kubelet refuses to run."""
    return {"phase": "Failed", "reason": reason, "message": message, "startTime": now, "qosClass": old["qosClass"]}
