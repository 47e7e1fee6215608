"""The cluster that a stack works on."""

from dataclasses import dataclass
from pathlib import Path

from deploy.local import access
from deploy.local.console import Reporter
from deploy.local.parts import ROOT

NAMESPACE = "ips"

_MANIFESTS = ROOT / "deploy" / "k8s" / "base"
_BINDINGS = ROOT / "deploy" / "local" / "cluster" / "bindings.yaml"
_ADMIN = "admin"
_LEAST_RIGHTS = "ips"


@dataclass(frozen=True)
class Target:
    """How the functions reach the cluster, and where its API server is."""

    kubeconfig: Path
    context: str
    url: str


def simulated_target(folder: Path) -> Target:
    """Give the simulated cluster of `folder` the namespace and the least rights that the functions work with.

    Raises:
        StackError: It refuses.
    """
    kubeconfig = folder / "kubeconfig"
    api = access.connect(kubeconfig, _ADMIN)
    access.apply(api, [_MANIFESTS / "namespace.yaml", _MANIFESTS / "rbac.yaml", _BINDINGS])
    return Target(kubeconfig, _LEAST_RIGHTS, api.configuration.host)


def external_target(kubeconfig: Path, reporter: Reporter) -> Target:
    """Use the cluster at the current context of `kubeconfig`, whose rights are its owner's affair.

    Raises:
        StackError: It cannot be reached, or lacks the namespace and it cannot be created.
    """
    context = access.current_context(kubeconfig)
    api = access.connect(kubeconfig, context)
    remark = access.ensure_namespace(api, NAMESPACE, _MANIFESTS / "namespace.yaml")
    reporter.ready("cluster", f"{api.configuration.host}, context {context}", 0)
    if remark:
        reporter.remark(remark)
    return Target(kubeconfig.resolve(), context, api.configuration.host)
