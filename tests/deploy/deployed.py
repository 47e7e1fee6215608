"""A simulated cluster to which the manifests for functions in the cluster have been applied."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from deploy.local import access
from deploy.local.cluster.running import RunningCluster, running_cluster
from tests.deploy.kustomize import build

NAMESPACE = "ips"
CALLERS = ("api", "batch", "tracker", "release")
"""The functions that call clusters."""
ACCOUNTS = {**{name: name for name in CALLERS}, "orphans": "ips-orphans"}
"""Contexts of the kubeconfig, and the service account each stands for."""
_KINDS = (
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ResourceQuota",
    "PriorityClass",
)
"""What of the manifests the simulated cluster acts upon."""


def user(context: str) -> str:
    """The name by which the cluster knows a service account."""
    return f"system:serviceaccount:ips-system:{ACCOUNTS[context]}"


@contextmanager
def deployed(folder: Path) -> Iterator[RunningCluster]:
    """Run a cluster whose registries and kubelets are quick, with the accounts and bounds of the manifests."""
    scenario = {
        "users": {context: user(context) for context in ACCOUNTS},
        "images": [{"pattern": "*", "seconds": 0.05}, {"pattern": "*/missing:*", "missing": True}],
        "kubelet": {"pull_latency_seconds": 0.01, "status_seconds": 0.05, "backoff_scale": 0.1},
    }
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    objects = [obj for obj in build("overlays/in-cluster") if obj["kind"] in _KINDS]
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    with running_cluster(folder, nodes=4, scenario=folder / "scenario.yaml") as running:
        access.apply(access.connect(running.kubeconfig, "admin"), [folder / "manifests.yaml"])
        yield running
