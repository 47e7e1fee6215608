"""What the simulation deliberately leaves out, and why. Each is answered with 501, never with a guess.

Left out without an answer, because no client can ask for it: managedFields are never kept, ServiceAccount admission
adds no volume and no name to pods (as in the recordings), pods are not evicted for taints nor for the priority of
others, responses are not compressed, and JSON is the only encoding.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.cluster.errors import ApiError, not_emulated

_UNUSED = "neither IPS nor its operators use it"

RESOURCES: Mapping[tuple[str, str], str] = {
    ("batch", "cronjobs"): _UNUSED,
    ("", "configmaps"): _UNUSED,
    ("", "endpoints"): _UNUSED,
    ("", "limitranges"): _UNUSED,
    ("", "persistentvolumeclaims"): _UNUSED,
    ("", "persistentvolumes"): _UNUSED,
    ("", "podtemplates"): _UNUSED,
    ("", "replicationcontrollers"): _UNUSED,
    ("", "services"): _UNUSED,
    ("", "bindings"): "the simulated scheduler is the only one",
    ("apps", "deployments"): _UNUSED,
    ("apps", "replicasets"): _UNUSED,
    ("apps", "statefulsets"): _UNUSED,
    ("apps", "controllerrevisions"): "DaemonSets are never rolled",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "reviews of single actions answer the same question",
    ("authorization.k8s.io", "subjectaccessreviews"): "nobody asks about others",
    ("authorization.k8s.io", "localsubjectaccessreviews"): "nobody asks about others",
}
SUBRESOURCES: Mapping[str, str] = {
    "log": "containers of the simulation run nothing and say nothing",
    "exec": "containers of the simulation run nothing",
    "attach": "containers of the simulation run nothing",
    "portforward": "containers of the simulation run nothing",
    "proxy": "nodes and pods of the simulation have no network",
    "eviction": "nobody drains nodes here; delete the pod",
    "binding": "the simulated scheduler is the only one",
    "token": "the kubeconfig holds the only credentials",
    "ephemeralcontainers": _UNUSED,
    "resize": _UNUSED,
    "scale": _UNUSED,
    "finalize": "namespaces are emptied by their controller",
}
REQUESTS: Mapping[str, str] = {
    "server-side apply": "it needs managedFields; create, or patch with another content type",
    "granting roles": "only system:masters may write RBAC objects, so the escalation check is left out",
    "rolling a DaemonSet": "delete it and create another",
    "changing a pod's spec": _UNUSED,
}
_JOB_FIELDS: Mapping[str, str] = {
    "backoffLimitPerIndex": _UNUSED,
    "managedBy": _UNUSED,
    "maxFailedIndexes": _UNUSED,
    "podFailurePolicy": _UNUSED,
    "successPolicy": _UNUSED,
    "scheduling": _UNUSED,
}
_POD_FIELDS: Mapping[str, str] = {
    "ephemeralContainers": _UNUSED,
    "overhead": _UNUSED,
    "readinessGates": _UNUSED,
    "resourceClaims": _UNUSED,
    "runtimeClassName": _UNUSED,
    "schedulingGates": _UNUSED,
    "topologySpreadConstraints": "every pod here names its node",
}
_CONTAINER_FIELDS: Mapping[str, str] = {
    "lifecycle": "containers of the simulation run nothing",
    "livenessProbe": "containers of the simulation run nothing",
    "readinessProbe": "containers of the simulation run nothing",
    "startupProbe": "containers of the simulation run nothing",
    "restartPolicy": "sidecars and per-container restarts are not used",
    "restartPolicyRules": "sidecars and per-container restarts are not used",
    "volumeDevices": _UNUSED,
}
QUOTA_PREFIXES = ("count/", "pods")


def refuse(request: str) -> ApiError:
    """The 501 for one of `REQUESTS`."""
    return not_emulated(request, REQUESTS[request])


def check_job(spec: dict[str, Any]) -> None:
    """Refuse a Job that needs what is left out.

    Raises:
        ApiError: 501.
    """
    if spec.get("completionMode", "NonIndexed") != "NonIndexed":
        raise not_emulated("Indexed Jobs", _UNUSED)
    _check("Jobs", spec, _JOB_FIELDS)
    check_pod(spec["template"].get("spec") or {})


def check_pod(spec: dict[str, Any]) -> None:
    """Refuse a pod that needs what is left out.

    Raises:
        ApiError: 501.
    """
    _check("pods", spec, _POD_FIELDS)
    affinity = spec.get("affinity") or {}
    _check("affinity", affinity, dict.fromkeys(("podAffinity", "podAntiAffinity"), _UNUSED))
    for container in _containers(spec):
        _check("containers", container, _CONTAINER_FIELDS)


def check_quota(spec: dict[str, Any]) -> None:
    """Refuse a ResourceQuota over anything but counts.

    Raises:
        ApiError: 501.
    """
    for name in spec.get("hard") or {}:
        if not name.startswith(QUOTA_PREFIXES):
            raise not_emulated(f"quota over {name}", "only objects are counted")
    _check("quota", spec, dict.fromkeys(("scopes", "scopeSelector"), _UNUSED))


def _containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _check(what: str, obj: dict[str, Any], fields: Mapping[str, str]) -> None:
    for field in fields.keys() & obj.keys():
        raise not_emulated(f"{field} of {what}", fields[field])
