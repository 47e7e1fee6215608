"""The Node object, as its kubelet reports it."""

from collections.abc import Iterable
from typing import Any

from deploy.local.cluster.kubelet.images import Image, repository_of

# The kubelet's default nodeStatusMaxImages.
MOST_IMAGES = 50
_ZONES = 3
_GPU_EVERY = 4


def _ttl(nodes: int) -> str:
    """How long kubelets may cache secrets, by cluster size: the control plane's only annotation on nodes."""
    for most, seconds in ((100, "0"), (500, "15"), (1000, "30"), (2000, "60")):
        if nodes <= most:
            return seconds
    return "300"


def name_of(index: int) -> str:
    """The index-th node's name."""
    return f"node-{index:05d}"


def node_object(index: int, count: int, now: str) -> dict[str, Any]:
    """A healthy node of a cluster of `count`."""
    resources = {"cpu": "8", "ephemeral-storage": "100Gi", "memory": "32Gi", "pods": "110"}
    info = (
        "machineID systemUUID bootID kernelVersion osImage containerRuntimeVersion kubeletVersion kubeProxyVersion "
        "operatingSystem architecture"
    )
    return {
        "metadata": {
            "name": name_of(index),
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name_of(index),
                "kubernetes.io/os": "linux",
                "pool": "cpu" if index % _GPU_EVERY else "gpu",
                "topology.kubernetes.io/zone": f"z{index % _ZONES}",
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": _ttl(count)},
        },
        "spec": {},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [ready_condition(ready=True, now=now)],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": dict.fromkeys(info.split(), ""),
        },
    }


def ready_condition(*, ready: bool | str, now: str) -> dict[str, Any]:
    """The Ready condition: True, False (the kubelet says so) or "unknown" (the kubelet says nothing any more)."""
    condition = {"type": "Ready", "lastHeartbeatTime": now, "lastTransitionTime": now}
    if ready is True:
        return {**condition, "status": "True", "reason": "KubeletReady"}
    if ready is False:
        said = "container runtime network not ready"
        return {**condition, "status": "False", "reason": "KubeletNotReady", "message": said}
    return {
        **condition,
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }


def pressure_condition(*, pressed: bool, now: str) -> dict[str, Any]:
    """The DiskPressure condition."""
    return {
        "type": "DiskPressure",
        "status": "True" if pressed else "False",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
        "reason": "KubeletHasDiskPressure" if pressed else "KubeletHasNoDiskPressure",
        "message": "kubelet has disk pressure" if pressed else "kubelet has no disk pressure",
    }


def reported_images(images: Iterable[Image]) -> list[dict[str, Any]]:
    """The biggest images on the node, by their whole names; the kubelet names no more than 50."""
    biggest = sorted(images, key=lambda image: (-image.size, image.name))[:MOST_IMAGES]
    return [{"names": _names(image), "sizeBytes": image.size} for image in biggest]


def _names(image: Image) -> list[str]:
    pinned = f"{repository_of(image.name)}@{image.digest}"
    return [pinned] if "@" in image.name else [pinned, image.name]


def taints_of(*, ready: bool | str, pressed: bool) -> list[dict[str, str]]:
    """The taints the control plane keeps for conditions."""
    taints = []
    if ready is not True:
        key = "node.kubernetes.io/" + ("not-ready" if ready is False else "unreachable")
        taints += [{"key": key, "effect": "NoSchedule"}, {"key": key, "effect": "NoExecute"}]
    if pressed:
        taints.append({"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"})
    return taints
