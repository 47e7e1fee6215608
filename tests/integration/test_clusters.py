"""Several clusters: each does its own tasks, found in every way there is, and none is slowed by one that hangs."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.cluster.running import RunningCluster, running_cluster
from deploy.local.stack import Stack
from deploy.local.target import simulated_target
from tests.integration.access import Kube, Tasks, request, until
from tests.relay import Relay, relayed
from tests.unit.cluster_adapter.google import Google, described, google

NODES = 6
BY_ADDRESS = "projects/acme/locations/europe-west1/clusters/by-address"
BY_NAME = "projects/acme/locations/europe-west1/clusters/by-name"


def through(cluster: RunningCluster, relay: Relay, folder: Path, name: str) -> dict[str, str]:
    """The cluster's entry in the configuration, reached through a relay."""
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = f"https://{relay.address}"
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return {"kubeconfig": str(path), "context": "ips"}


class Land:
    """Three clusters under five names, the functions that work on them, and Google."""

    def __init__(self, folder: Path, emulators: dict[str, str], extra: dict[str, str]) -> None:
        self._cleanup = contextlib.ExitStack()
        started = self._cleanup.enter_context
        try:
            home, far, cold = (
                started(running_cluster(folder / name, nodes=NODES, seed=seed))
                for seed, name in enumerate(("home", "far", "cold"))
            )
            for cluster in (home, far, cold):
                simulated_target(cluster.directory)
            self.far = far
            self.google: Google = started(google())
            self.google.token = far.token("ips")
            host = far.url.removeprefix("https://")
            self.google.knows(BY_ADDRESS, described(ip=host, authority=far.authority.read_bytes()))
            dns = host.replace("127.0.0.1", "localhost")
            self.google.knows(BY_NAME, described(dns=dns, external=True, ip_enabled=False))
            place = cold.url.removeprefix("https://")
            self.frost, self.batch_frost = started(relayed(place)), started(relayed(place))
            refused = yaml.safe_load(home.kubeconfig.read_text())
            for user in refused["users"]:
                user["user"]["token"] = "not-a-token"
            (folder / "refused").write_text(yaml.safe_dump(refused))
            clusters: dict[str, Any] = {
                "default": {"kubeconfig": str(home.kubeconfig), "context": "ips"},
                "by-address": {"gke": BY_ADDRESS},
                "by-name": {"gke": BY_NAME},
                "cold": through(cold, self.frost, folder, "cold.yaml"),
                "refused": {"kubeconfig": str(folder / "refused"), "context": "ips"},
            }
            batch_clusters = clusters | {"cold": through(cold, self.batch_frost, folder, "cold-batch.yaml")}
            self.stack = started(
                Stack(
                    kubeconfig=home.kubeconfig,
                    emulators=emulators,
                    env={
                        "IPS_CLUSTERS": json.dumps(clusters),
                        # The public authorities, to whoever asks the system for them.
                        "SSL_CERT_FILE": str(far.authority),
                        **self.google.environment(folder),
                        **extra,
                    },
                    function_env={"batch": {"IPS_CLUSTERS": json.dumps(batch_clusters)}},
                )
            )
        except BaseException:
            self.close()
            raise
        self.tasks = Tasks(self.stack)
        self.kubes = {"home": Kube(home), "far": Kube(far), "cold": Kube(cold)}

    def ready(self) -> Any:
        return request(f"{self.stack.api_url}/ready").body

    def jobs(self, task_id: str) -> dict[str, int]:
        """How many Jobs of a task each cluster has."""
        return {name: len(kube.jobs(task_id)) for name, kube in self.kubes.items()}

    def close(self) -> None:
        self._cleanup.close()


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, emulators: dict[str, str], coverage_env: dict[str, str]
) -> Iterator[Land]:
    land = Land(tmp_path_factory.mktemp("clusters"), emulators, coverage_env)
    yield land
    land.close()


@pytest.fixture
def land(running: Land) -> Iterator[Land]:
    yield running
    running.frost.mend()
    running.batch_frost.mend()


@pytest.mark.parametrize(
    ("name", "place"), [("default", "home"), ("by-address", "far"), ("by-name", "far"), ("cold", "cold")]
)
def test_a_task_is_done_in_the_cluster_it_names(land: Land, name: str, place: str) -> None:
    task = land.tasks.create(f"registry.example/own/{name}:1", cluster=name, batchSize=2)

    done = land.tasks.finished(task["taskId"])

    assert (done["status"], done["cluster"], done["progress"]["completedNodes"]) == ("completed", name, NODES)
    assert land.jobs(task["taskId"]) == {"home": 0, "far": 0, "cold": 0} | {place: NODES}


def test_readiness_names_each_cluster(land: Land) -> None:
    checks = land.ready()["checks"]
    assert {name: check["ok"] for name, check in checks.items()} == {
        "firestore": True,
        "pubsub": True,
        "cluster/default": True,
        "cluster/by-address": True,
        "cluster/by-name": True,
        "cluster/cold": True,
        "cluster/refused": False,
    }
    assert "401" in checks["cluster/refused"]["error"]
    land.frost.freeze()

    answer = until(lambda: (seen := land.ready())["checks"]["cluster/cold"]["ok"] or seen, "the cluster is missed")

    assert answer["status"] == "degraded"
    assert answer["checks"]["cluster/default"]["ok"]
    assert answer["checks"]["cluster/by-name"]["ok"]


def test_a_token_that_is_no_longer_taken_is_renewed_by_itself(land: Land) -> None:
    land.far.command("tokens/expire", {"user": "ips", "renew": True})
    land.google.token = land.far.token("ips")

    for name in ("by-address", "by-name"):
        task = land.tasks.create(f"registry.example/renewed/{name}:1", cluster=name)
        assert land.tasks.finished(task["taskId"])["status"] == "completed"


def test_a_cluster_that_hangs_in_the_middle_of_its_batches_slows_no_other(land: Land) -> None:
    land.batch_frost.freeze()
    hanging = [
        land.tasks.create(f"registry.example/hang/{n}:1", cluster="cold", batchSize=1, maxConcurrentBatches=NODES)
        for n in range(2)
    ]
    assert {task["status"] for task in hanging} == {"running"}

    for name in ("default", "by-name"):
        task = land.tasks.create(f"registry.example/beside/{name}:1", cluster=name, batchSize=3)
        assert land.tasks.finished(task["taskId"], 45)["status"] == "completed"

    assert {land.tasks.get(task["taskId"])["status"] for task in hanging} == {"running"}
    land.batch_frost.mend()
    for task in hanging:
        done = land.tasks.finished(task["taskId"], 180)
        assert (done["status"], done["progress"]["completedNodes"]) == ("completed", NODES)


def test_tasks_of_a_cluster_that_is_away_wait_for_it_and_begin_by_themselves(land: Land) -> None:
    land.frost.freeze()
    land.batch_frost.freeze()
    waiting = [
        land.tasks.create(f"registry.example/wait/{number}:1", cluster=name)
        for number in range(2)
        for name in ("cold", "refused")
    ]
    seen = [land.tasks.get(task["taskId"]) for task in waiting]
    assert {(task["status"], task["pendingReason"]) for task in seen} == {("pending", "cluster")}

    for name in ("default", "by-address"):
        task = land.tasks.create(f"registry.example/apart/{name}:1", cluster=name, batchSize=3)
        assert land.tasks.finished(task["taskId"], 45)["status"] == "completed"

    land.frost.mend()
    land.batch_frost.mend()
    for task in waiting:
        if task["cluster"] == "cold":
            assert land.tasks.finished(task["taskId"], 120)["status"] == "completed"
        else:
            assert land.tasks.cancel(task["taskId"]).status == 200
