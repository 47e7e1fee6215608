"""The functions run as pods as the code, its configuration and the topology say."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask, request

from deploy.k8s.bridge.bridge import load_routes
from functions.api.app import create_app
from functions.api.deps import Deps
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.config import Settings
from ips_common.push import receive
from ips_common.store.memory import MemoryStore
from ips_common.topology import load_topology
from tests.deploy.kustomize import (
    COMPONENTS,
    IN_CLUSTER,
    K8S,
    build,
    container_of,
    deployments,
    environment,
    given,
    named,
    of_kind,
    pod_of,
    with_component,
)

ROOT = Path(__file__).parents[2]
TOPOLOGY = load_topology(ROOT / "infra" / "topology.yaml")
SERVER = {"THREADS", "TMPDIR", "XDG_RUNTIME_DIR", "GOOGLE_APPLICATION_CREDENTIALS", "PYTHONDONTWRITEBYTECODE"}
"""Variables that are for Python, its server and Google's libraries, not for the configuration."""


class TestFunctions:
    def test_every_function_runs_as_the_topology_sizes_it(self) -> None:
        assert deployments().keys() == TOPOLOGY.functions.keys()
        for name, function in TOPOLOGY.functions.items():
            container = container_of(deployments()[name])
            assert container["args"] == [name]
            assert container["resources"]["limits"]["memory"] == f"{function.memory_mi_b}Mi"
            assert environment(container)["IPS_FUNCTION"] == name

    def test_the_api_takes_as_many_calls_at_a_time_as_the_topology_says(self) -> None:
        assert environment(container_of(deployments()["api"]))["THREADS"] == str(TOPOLOGY.functions["api"].concurrency)

    def test_slow_messages_leave_threads_for_probes(self) -> None:
        """Even if one pod gets all that the bridges have in hand, and in a roll-out there are twice as many bridges."""
        bridges = 2 * named(build(IN_CLUSTER), "Deployment", "bridge")["spec"]["replicas"]
        posted: Counter[str] = Counter()
        for route in load_routes(K8S / "bridge" / "routes.json"):
            posted[route.url.removeprefix("http://")] += route.workers
        assert posted.keys() == deployments().keys() - {"api"}
        for name, workers in posted.items():
            threads = environment(container_of(deployments()[name]))["THREADS"]
            assert int(threads or 0) > workers * bridges, name

    def test_one_tracker_follows_another(self) -> None:
        tracker = deployments()["tracker"]
        assert (tracker["spec"]["replicas"], tracker["spec"]["strategy"]) == (1, {"type": "Recreate"})

    def test_tokens_for_the_cluster_go_to_who_calls_it(self) -> None:
        rights = yaml.safe_load((ROOT / "infra" / "functions.yaml").read_text(encoding="utf-8"))["functions"]
        for name, deployment in deployments().items():
            assert deployment["spec"]["template"]["spec"]["automountServiceAccountToken"] is bool(
                rights[name]["clusters"]
            )

    def test_variables_are_settings(self, tmp_path: Path) -> None:
        known = {str(name) for field in Settings.model_fields.values() for name in aliases(field.validation_alias)}
        objects = build(IN_CLUSTER)
        for component in COMPONENTS:
            (tmp_path / component).mkdir()
            objects += with_component(component, tmp_path / component)
        for obj in objects:
            if pod_of(obj):
                assert environment(container_of(obj)).keys() <= known | SERVER, obj["metadata"]["name"]
                assert given(objects, container_of(obj)).keys() <= known, obj["metadata"]["name"]

    @pytest.mark.parametrize("name", TOPOLOGY.functions)
    def test_the_settings_given_are_valid(self, name: str) -> None:
        container = container_of(deployments()[name])
        keys = json.dumps({"ci": {"role": "writer", "hash": HASH}})
        secrets = {"IPS_API_KEYS": keys, "IPS_WEBHOOK_SECRETS": "x" * 16}
        own = {key: value or secrets[key] for key, value in environment(container).items() if key not in SERVER}
        settings = Settings.model_validate({**given(build(IN_CLUSTER), container), **own})
        assert settings.clusters["default"].in_cluster
        assert (settings.auth, settings.namespace) == ("api-key" if name == "api" else "none", "ips")

    def test_secrets_are_those_that_terraform_gives(self) -> None:
        rights = yaml.safe_load((ROOT / "infra" / "functions.yaml").read_text(encoding="utf-8"))["functions"]
        for name, deployment in deployments().items():
            secret = [key for key, value in environment(container_of(deployment)).items() if value is None]
            assert secret == rights[name]["secrets"]

    @pytest.mark.parametrize("name", TOPOLOGY.functions)
    def test_probes_are_answered_while_everything_else_is_away(self, name: str) -> None:
        container = container_of(deployments()[name])
        probes = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
        for path in probes:
            assert probe(name, path) == 200

    def test_the_schedule_is_the_topology_s(self) -> None:
        crons = {
            obj["metadata"]["name"]: (obj["spec"]["schedule"], *container_of(obj)["args"])
            for obj in of_kind(build(IN_CLUSTER), "CronJob")
            if obj["metadata"]["name"] != "ips-orphans"
        }
        wanted = {each.name: (each.schedule, each.topic, json.dumps(each.message)) for each in TOPOLOGY.schedules}
        assert crons == wanted


HASH = "sha256:" + "00" * 16 + ":" + "0" * 64


def aliases(alias: Any) -> list[Any]:
    return list(alias.choices) if hasattr(alias, "choices") else [alias]


def probe(name: str, path: str) -> int:
    """What a function answers a probe with."""
    if name == "api":
        cluster = MemoryCluster("default", 1)
        cluster.away = True
        bus = MemoryBus()
        bus.down = True
        deps = Deps(store=MemoryStore(), bus=bus, clusters=MemoryClusters(cluster), max_pending_tasks=1)
        return create_app(deps).test_client().get(path).status_code
    with Flask(name).test_request_context(path):
        answer = receive(request, print)
    return answer[1]
