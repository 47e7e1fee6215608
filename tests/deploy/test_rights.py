"""Every account has exactly the rights that its function uses, in every overlay."""

import ast
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml
from kubernetes import client

from deploy.k8s.base import orphans
from deploy.local import access
from deploy.local.cluster.credentials import IPS_USER
from deploy.local.cluster.running import RunningCluster
from ips_common.models.task import TaskStatus
from ips_common.ports.cluster import Cluster
from tests.deploy.deployed import ACCOUNTS, CALLERS, NAMESPACE, deployed, user
from tests.deploy.kustomize import OVERLAYS, Object, build, of_kind
from tests.deploy.land import JOBS, Land, until
from tests.deploy.rights import asked_for, granted, refused

ROOT = Path(__file__).parents[2]
GONE = "node-00002"
ELSEWHERE = ("ips_common.cluster", "ips_common.ports", "functions.api.bounded")
"""Modules that are about clusters, rather than asking anything of one."""


def account(name: str) -> Object:
    return {"kind": "ServiceAccount", "name": ACCOUNTS[name], "namespace": "ips-system"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    with deployed(tmp_path_factory.mktemp("cluster")) as running:
        running.command("requests/reset", {})
        yield running


@pytest.fixture(scope="module")
def admin(cluster: RunningCluster) -> Any:
    """The cluster as an administrator's client sees it."""
    return access.connect(cluster.kubeconfig, "admin")


@pytest.fixture(scope="module")
def land(cluster: RunningCluster, admin: Any) -> Iterator[Land]:
    """All that the functions do to a cluster, done once."""
    made = Land(cluster)
    try:
        do_everything(made, admin)
    except (AssertionError, orphans.Refused) as error:
        if missing := [entry for name in ACCOUNTS for entry in refused(cluster, user(name))]:
            raise AssertionError(f"rights are missing: {missing}") from error
        raise
    yield made
    made.close()


def do_everything(land: Land, admin: Any) -> None:
    pull(land)
    withdraw(land)
    come_late(land, admin)
    run_daemonsets(land)
    be_refused(land, admin)
    begin_by_tracker(land)
    land.release({"images": ["registry.example/app:1"], "pullStrategy": "imageVolume"})
    assert land.api.get("/ready").status_code == 200
    sweep(land, admin)


def pull(land: Land) -> None:
    """A task with an image that is not there, whose Job goes on trying, and a node that vanishes."""
    task = land.create(images=["registry.example/app:1", "registry.example/missing:1"], pullStrategy="imageVolume")
    (message,) = land.messages()
    land.running.command(f"nodes/{GONE}", {"gone": True})
    land.batch(message)
    land.batch(message)  # delivered again
    land.track()
    results = {node.name: str(node.result) for _, node in land.store.nodes(task, limit=10).nodes}
    assert "NODE_GONE" in results.pop(GONE)
    assert all("IMAGE_NOT_FOUND" in result for result in results.values())
    land.running.command(f"nodes/{GONE}", {"gone": False})


def withdraw(land: Land) -> None:
    """A task that is cancelled before its batch's message arrives."""
    task = land.create()
    (message,) = land.messages()
    land.cancel(task)
    land.batch(message)
    land.track()


def come_late(land: Land, admin: Any) -> None:
    """A Job of a cancelled task that appears when everybody believed it gone."""
    cancelled = land.create()
    (message,) = land.messages()
    land.cancel(cancelled)
    land.track()
    late = land.job(cancelled, message.batch, "slow30.example/app:1")
    batch: Any = client.BatchV1Api(admin)
    batch.create_namespaced_job(NAMESPACE, late)
    completed(land, land.create())

    def gone() -> bool:
        return late["metadata"]["name"] not in {job.metadata.name for job in batch.list_namespaced_job(NAMESPACE).items}

    until(gone, "the stray is deleted")


def run_daemonsets(land: Land) -> None:
    """A DaemonSet whose message comes twice, and one that is cancelled before it is made."""
    done = land.create(mode="daemonset")
    (message, *_) = land.messages()
    land.batch(message)
    land.batch(message)
    completed(land, done)
    cancelled = land.create(mode="daemonset")
    (message, *_) = land.messages()
    land.cancel(cancelled)
    land.batch(message)
    land.track()


def be_refused(land: Land, admin: Any) -> None:
    """Pods that a quota refuses, and pods of a priority that does not exist."""
    core: Any = client.CoreV1Api(admin)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    core.create_namespaced_resource_quota(NAMESPACE, quota)
    task = land.create()
    land.track()
    assert "exceeded quota" in str(land.store.nodes(task, limit=10).nodes[0][1].result)
    core.delete_namespaced_resource_quota("none", NAMESPACE)
    task = land.create()
    (message,) = land.messages()
    land.batch(message, replace(JOBS, priority_class="not-there"))
    land.track()
    result = str(land.store.nodes(task, limit=10).nodes[0][1].result)
    assert "REFUSED_BY_ADMISSION" in result
    assert "no PriorityClass with name not-there was found" in result


def begin_by_tracker(land: Land) -> None:
    """A task that only the tracker starts."""
    completed(land, land.wait_for_tracker(pullStrategy="imageVolume"))


def completed(land: Land, task: str) -> None:
    land.track()
    assert land.store.task(task).task.status is TaskStatus.COMPLETED


def sweep(land: Land, admin: Any) -> None:
    """What is left a day later is left by nobody."""
    task = land.create(mode="daemonset")
    for message in land.messages():
        land.batch(message)
    folder = land.running.directory / "account"
    folder.mkdir()
    (folder / "token").write_text(land.running.token("orphans"))
    shutil.copy(land.running.authority, folder / "ca.crt")
    sets: Any = client.AppsV1Api(admin)
    assert sets.list_namespaced_daemon_set(NAMESPACE).items
    api = orphans.Api(land.running.url, folder)
    assert orphans.sweep(api, NAMESPACE, datetime.now(UTC)) == 0
    assert orphans.sweep(api, NAMESPACE, datetime.now(UTC) + timedelta(days=1)) > 1
    until(lambda: not sets.list_namespaced_daemon_set(NAMESPACE).items, "the DaemonSet is deleted")
    land.cancel(task)
    land.track()


@pytest.mark.parametrize("name", ACCOUNTS)
def test_rights_are_exactly_those_used(land: Land, name: str) -> None:
    given = granted(build("overlays/in-cluster"), account(name))

    assert refused(land.running, user(name)) == []
    assert frozenset().union(*given.values()) == asked_for(land.running, user(name))
    assert set(given) <= {"", NAMESPACE}
    assert {right.resource for right in given.get("", ())} <= {"nodes"}


@pytest.mark.parametrize("name", CALLERS)
def test_nothing_a_function_asks_of_clusters_was_left_out(land: Land, name: str) -> None:
    """Whatever its modules call is among what was called here; else its rights would go unnoticed."""
    assert calls_of(name) - land.asked(name) == frozenset()


def calls_of(function: str) -> frozenset[str]:
    """The port's methods that the modules of a function call, as they are written."""
    graph = grimp.build_graph("functions", "ips_common", cache_dir=None)
    modules = {f"functions.{function}.main"} | graph.find_upstream_modules(f"functions.{function}.main")
    port = {name for name in vars(Cluster) if not name.startswith("_")}
    found: set[str] = set()
    for module in modules:
        if module.startswith(ELSEWHERE):
            continue
        path = ROOT.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in port and "cluster" in ast.unparse(node.value):
                found.add(node.attr)
    return frozenset(found)


@pytest.mark.parametrize("name", CALLERS)
def test_google_accounts_have_the_rights_of_service_accounts(name: str) -> None:
    google = {"kind": "User", "name": f"ips-{name}@my-project.iam.gserviceaccount.com"}
    assert granted(build("overlays/gke"), google) == granted(build("overlays/in-cluster"), account(name))
    assert granted(build("overlays/autopilot"), google) == granted(build("overlays/gke"), google)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_else_has_any_right(overlay: str) -> None:
    google = {f"ips-{name}@my-project.iam.gserviceaccount.com" for name in CALLERS}
    bound = of_kind(build(overlay), "RoleBinding", "ClusterRoleBinding")
    assert {subject["name"] for binding in bound for subject in binding["subjects"]} <= {*ACCOUNTS.values(), *google}


def test_the_local_user_has_the_rights_of_all_functions_together() -> None:
    file = ROOT / "deploy" / "local" / "cluster" / "bindings.yaml"
    bindings = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    local = granted([*build("base"), *bindings], {"kind": "User", "name": IPS_USER})
    for name in CALLERS:
        for namespace, rights in granted(build("overlays/in-cluster"), account(name)).items():
            assert rights <= local[namespace], name
