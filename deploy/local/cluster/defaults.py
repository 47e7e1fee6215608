"""The fields a real API server fills in on create."""

from typing import Any

from deploy.local.cluster.kinds import DAEMONSETS, EVENTS, JOBS, NAMESPACES, NODES, PODS, SECRETS, Kind

_CONTAINER = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_TEMPLATE = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_POD = {"priority": 0, "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority"}
_FILE_MODE = 0o644
_VOLUME_MODES = ("secret", "configMap", "downwardAPI", "projected")


def pull_policy(image: str) -> str:
    """`Always` for a moving tag (`latest`, or none at all), else `IfNotPresent`."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def apply(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """The object with its defaults, sharing what it already had."""
    match kind:
        case _ if kind is JOBS:
            return {**obj, "spec": _job_spec(obj), "status": {}}
        case _ if kind is PODS:
            return {**obj, "spec": pod_spec(obj.get("spec") or {}), "status": pod_status(obj.get("spec") or {})}
        case _ if kind is DAEMONSETS:
            return _daemonset(obj)
        case _ if kind is NAMESPACES:
            return _namespace(obj)
        case _ if kind is NODES:
            return {**obj, "spec": obj.get("spec") or {}}
        case _ if kind is SECRETS:
            return {**obj, "type": obj.get("type", "Opaque")}
        case _ if kind is EVENTS:
            unset: dict[str, Any] = {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None}
            return {**unset, "reportingComponent": "", "reportingInstance": "", **obj}
    return obj


def _job_spec(obj: dict[str, Any]) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
    filled = {"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False, "manualSelector": False, **spec}
    filled.setdefault("parallelism", 1)
    if "parallelism" not in spec or filled["parallelism"] == 1:
        filled.setdefault("completions", 1)
    filled.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    template = spec.get("template") or {}
    if not filled["manualSelector"]:
        filled["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        meta = template.get("metadata") or {}
        generated = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        template = {**template, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **generated}}}
    filled["template"] = {**template, "spec": template_spec(template.get("spec") or {})}
    return filled


def _daemonset(obj: dict[str, Any]) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    filled = {"updateStrategy": rolling, "revisionHistoryLimit": 10, **spec}
    filled["template"] = {**template, "spec": template_spec(template.get("spec") or {})}
    meta = obj["metadata"]
    annotations = {**(meta.get("annotations") or {}), "deprecated.daemonset.template.generation": "1"}
    zero = dict.fromkeys(("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0)
    return {**obj, "metadata": {**meta, "annotations": annotations}, "spec": filled, "status": zero}


def _namespace(obj: dict[str, Any]) -> dict[str, Any]:
    meta = obj["metadata"]
    labels = {"kubernetes.io/metadata.name": meta["name"], **(meta.get("labels") or {})}
    spec = {**(obj.get("spec") or {}), "finalizers": ["kubernetes"]}
    return {**obj, "metadata": {**meta, "labels": labels}, "spec": spec, "status": {"phase": "Active"}}


def template_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A pod template's spec with its defaults."""
    filled = {**_TEMPLATE, **spec}
    for field in ("initContainers", "containers"):
        if spec.get(field):
            filled[field] = [_container(container) for container in spec[field]]
    if spec.get("volumes"):
        filled["volumes"] = [_volume(volume) for volume in spec["volumes"]]
    return filled


def pod_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A pod's spec with its defaults."""
    return {**_POD, **template_spec(spec)}


def pod_spec_of_template(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec of a pod made from a template that has its defaults already; shares every container."""
    return {**_POD, **spec}


def pod_status(spec: dict[str, Any]) -> dict[str, Any]:
    """What a pod starts with."""
    return {"phase": "Pending", "qosClass": _qos(spec)}


def _container(container: dict[str, Any]) -> dict[str, Any]:
    filled = {**_CONTAINER, **container}
    filled.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    if container.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **port} for port in container["ports"]]
    resources = filled["resources"]
    if resources.get("limits"):
        filled["resources"] = {**resources, "requests": {**resources["limits"], **(resources.get("requests") or {})}}
    return filled


def _volume(volume: dict[str, Any]) -> dict[str, Any]:
    if set(volume) == {"name"}:
        return {**volume, "emptyDir": {}}
    if "image" in volume:
        source = volume["image"]
        return {**volume, "image": {"pullPolicy": pull_policy(source.get("reference", "")), **source}}
    for field in _VOLUME_MODES:
        if field in volume:
            return {**volume, field: {"defaultMode": _FILE_MODE, **volume[field]}}
    return volume


def _qos(spec: dict[str, Any]) -> str:
    resources = [c.get("resources") or {} for f in ("initContainers", "containers") for c in spec.get(f) or ()]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for found in resources:
        limits = found.get("limits") or {}
        requests = {**limits, **(found.get("requests") or {})}
        if not {"cpu", "memory"} <= limits.keys() or any(requests[name] != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"
