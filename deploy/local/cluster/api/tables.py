"""The columns kubectl shows: the real server's printers for the kinds people look at."""

from collections.abc import Callable
from typing import Any

from deploy.local.cluster.clock import seconds_of
from deploy.local.cluster.kinds import DAEMONSETS, EVENTS, JOBS, NAMESPACES, NODES, PODS, Kind

Obj = dict[str, Any]
_NONE = "<none>"
_NUMBERS = {"Desired", "Current", "Up-to-date", "Available"}
# A star marks the columns that only `-o wide` shows.
_COLUMNS = {
    PODS: "Name Ready Status Restarts Age *IP *Node *Nominated_Node *Readiness_Gates",
    JOBS: "Name Status Completions Duration Age *Containers *Images *Selector",
    NODES: "Name Status Roles Age Version *Internal-IP *External-IP *OS-Image *Kernel-Version *Container-Runtime",
    DAEMONSETS: "Name Desired Current Ready Up-to-date Available Node_Selector Age *Containers *Images *Selector",
    EVENTS: "Last_Seen Type Reason Object *Subobject *Source Message *First_Seen *Count *Name",
    NAMESPACES: "Name Status Age",
}
_DEFAULT_COLUMNS = "Name Created_At"


def columns(kind: Kind) -> list[dict[str, Any]]:
    """The column definitions of a kind."""
    found = []
    for word in _COLUMNS.get(kind, _DEFAULT_COLUMNS).split():
        name = word.lstrip("*").replace("_", " ")
        number = name in _NUMBERS or (kind is DAEMONSETS and name == "Ready")
        found.append(
            {
                "name": name,
                "type": "integer" if number else "string",
                "format": "name" if name == "Name" else "",
                "description": name,
                "priority": int(word.startswith("*")),
            }
        )
    return found


def cells(kind: Kind, obj: Obj, now: float) -> list[Any]:
    """One row."""
    printer = _PRINTERS.get(kind)
    if printer is None:
        return [obj["metadata"]["name"], obj["metadata"]["creationTimestamp"]]
    return printer(obj, now)


def human(seconds: float) -> str:
    """A duration as kubectl abbreviates it."""
    whole = int(seconds)
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    return f"{days}d{hours % 24}h" if days < 8 and hours % 24 else f"{days}d"


def _age(obj: Obj, now: float) -> str:
    return human(now - seconds_of(obj["metadata"]["creationTimestamp"]))


def _joined(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _containers(spec: Obj) -> list[str]:
    containers = spec["template"]["spec"]["containers"]
    return [",".join(one["name"] for one in containers), ",".join(one["image"] for one in containers)]


def _pod_reason(pod: Obj) -> str:
    """What kubectl calls the pod's status: its most telling container."""
    status = pod["status"]
    reason = status.get("reason") or status["phase"]
    init = status.get("initContainerStatuses") or []
    for index, one in enumerate(init):
        state = one["state"]
        ended = state.get("terminated")
        if ended is not None and ended["exitCode"] == 0:
            continue
        waiting = state.get("waiting", {}).get("reason", "")
        told = ended["reason"] if ended else waiting if waiting != "PodInitializing" else ""
        reason = f"Init:{told}" if told else f"Init:{index}/{len(init)}"
        break
    else:
        for one in reversed(status.get("containerStatuses") or []):
            state = one["state"]
            reason = state.get("waiting", state.get("terminated", {})).get("reason", reason)
    return "Terminating" if pod["metadata"].get("deletionTimestamp") else reason


def _pod(pod: Obj, now: float) -> list[Any]:
    statuses = pod["status"].get("containerStatuses") or []
    ready = sum(one["ready"] and "running" in one["state"] for one in statuses)
    restarts = sum(one["restartCount"] for one in statuses)
    node = pod["spec"].get("nodeName", _NONE)
    gates = [pod["status"].get("podIP", _NONE), node, _NONE, _NONE]
    counted = f"{ready}/{len(pod['spec']['containers'])}"
    return [pod["metadata"]["name"], counted, _pod_reason(pod), str(restarts), _age(pod, now), *gates]


def _job(job: Obj, now: float) -> list[Any]:
    spec, status = job["spec"], job["status"]
    true = {one["type"] for one in status.get("conditions") or () if one["status"] == "True"}
    told = next((kind for kind in ("Complete", "Failed", "Suspended", "FailureTarget") if kind in true), "Running")
    told = "Terminating" if job["metadata"].get("deletionTimestamp") else told
    completions = f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}"
    duration = ""
    if "startTime" in status:
        end = seconds_of(status["completionTime"]) if "completionTime" in status else now
        duration = human(end - seconds_of(status["startTime"]))
    selector = _joined((spec.get("selector") or {}).get("matchLabels"))
    return [job["metadata"]["name"], told, completions, duration, _age(job, now), *_containers(spec), selector]


def _node(node: Obj, now: float) -> list[Any]:
    ready = next((one for one in node["status"]["conditions"] if one["type"] == "Ready"), {"status": "Unknown"})
    told = "Ready" if ready["status"] == "True" else "NotReady"
    told += ",SchedulingDisabled" if node["spec"].get("unschedulable") else ""
    info = node["status"]["nodeInfo"]
    unknown = "<unknown>"
    wide = [info["osImage"] or unknown, info["kernelVersion"] or unknown, info["containerRuntimeVersion"] or unknown]
    return [node["metadata"]["name"], told, _NONE, _age(node, now), info["kubeletVersion"], _NONE, _NONE, *wide]


def _daemonset(found: Obj, now: float) -> list[Any]:
    status, spec = found["status"], found["spec"]
    fields = "desiredNumberScheduled currentNumberScheduled numberReady updatedNumberScheduled numberAvailable"
    numbers = [status.get(field, 0) for field in fields.split()]
    nodes = _joined(spec["template"]["spec"].get("nodeSelector"))
    selector = _joined(spec["selector"].get("matchLabels"))
    return [found["metadata"]["name"], *numbers, nodes, _age(found, now), *_containers(spec), selector]


def _event(event: Obj, now: float) -> list[Any]:
    made = event["metadata"]["creationTimestamp"]
    first = human(now - seconds_of(event.get("firstTimestamp") or made))
    last = human(now - seconds_of(event.get("lastTimestamp") or made))
    about = event["involvedObject"]
    source = event["source"].get("component") or event.get("reportingComponent", "")
    host = event["source"].get("host", "")
    said = [about.get("fieldPath", ""), f"{source}, {host}" if host else source, event.get("message", "")]
    thing = f"{about['kind'].lower()}/{about['name']}"
    counted = [first, str(event.get("count", 1)), event["metadata"]["name"]]
    return [last, event.get("type", ""), event.get("reason", ""), thing, *said, *counted]


def _namespace(namespace: Obj, now: float) -> list[Any]:
    return [namespace["metadata"]["name"], namespace["status"]["phase"], _age(namespace, now)]


_PRINTERS: dict[Kind, Callable[[Obj, float], list[Any]]] = {
    PODS: _pod,
    JOBS: _job,
    NODES: _node,
    DAEMONSETS: _daemonset,
    EVENTS: _event,
    NAMESPACES: _namespace,
}
