"""Manifests fit together, fit the code, and let nothing through that they are there to stop."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask, request

from deploy.local.cluster import podsecurity
from functions.api.app import create_app
from functions.api.deps import Deps
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.config import Settings
from ips_common.models.task import TaskSpec
from ips_common.push import receive
from ips_common.store.memory import MemoryStore
from ips_common.topology import load_topology
from tests.deploy.kustomize import COMPONENTS, K8S, OVERLAYS, Object, build, of_kind, pod_of, with_component

ROOT = Path(__file__).parents[2]
TOPOLOGY = load_topology(ROOT / "infra" / "topology.yaml")
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
IN_CLUSTER, AUTOPILOT = "overlays/in-cluster", "overlays/autopilot"
SERVER = {"THREADS", "TMPDIR", "XDG_RUNTIME_DIR", "GOOGLE_APPLICATION_CREDENTIALS", "PYTHONDONTWRITEBYTECODE"}
"""Variables that are for Python, its server and Google's libraries, not for the configuration."""
NODES = 5_000
"""Nodes of the largest task the product is measured with."""


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (obj for obj in of_kind(objects, kind) if obj["metadata"]["name"] == name)
    return found


def deployments() -> dict[str, Object]:
    """The functions' Deployments."""
    found = {obj["metadata"]["name"]: obj for obj in of_kind(build(IN_CLUSTER), "Deployment")}
    del found["bridge"]
    return found


def container_of(obj: Object) -> Object:
    pod = pod_of(obj)
    assert pod
    (container,) = pod["spec"]["containers"]
    found: Object = container
    return found


def quantity(text: str) -> float:
    """Kubernetes' numbers with their units."""
    found = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|)", text)
    assert found, text
    return float(found[1]) * {"m": 0.001, "": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[found[2]]


class TestBounds:
    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_every_namespace_enforces_restricted(self, overlay: str) -> None:
        spaces = list(of_kind(build(overlay), "Namespace"))
        assert {space["metadata"]["name"] for space in spaces} == {"ips", "ips-system"}
        for space in spaces:
            labels = space["metadata"]["labels"]
            assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {
                "restricted"
            }
            assert all(f"pod-security.kubernetes.io/{mode}-version" in labels for mode in ("enforce", "audit", "warn"))

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_every_pod_is_restricted_and_confined(self, overlay: str) -> None:
        pods = [(obj, pod) for obj in build(overlay) if (pod := pod_of(obj))]
        assert pods
        for obj, pod in pods:
            assert podsecurity.violations("restricted", pod["spec"]) == "", obj["metadata"]["name"]
            for container in pod["spec"]["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
                assert "memory" in container["resources"]["limits"]
            assert pod["spec"]["enableServiceLinks"] is False
            assert isinstance(pod["spec"]["automountServiceAccountToken"], bool)

    @pytest.mark.parametrize("overlay", [overlay for overlay in OVERLAYS if overlay != AUTOPILOT])
    def test_what_is_pulled_runs_within_the_limits(self, overlay: str) -> None:
        (limit,) = named(build(overlay), "LimitRange", "ips")["spec"]["limits"]
        for manifest in made_by_functions():
            for container in containers(manifest):
                for resource, wanted in container["resources"]["requests"].items():
                    assert quantity(wanted) <= quantity(limit["default"][resource]) <= quantity(limit["max"][resource])
                assert "limits" not in container["resources"]

    def test_autopilot_is_left_to_its_own_minima(self) -> None:
        left_out = {(obj["kind"], obj["metadata"]["name"]) for obj in build("overlays/gke")}
        left_out -= {(obj["kind"], obj["metadata"]["name"]) for obj in build(AUTOPILOT)}
        assert left_out == {("LimitRange", "ips")}

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_the_largest_task_and_the_default_concurrency_fit_the_quota(self, overlay: str) -> None:
        hard = named(build(overlay), "ResourceQuota", "ips")["spec"]["hard"]
        tasks = Settings.model_fields["max_concurrent_tasks"].default
        batches, size = (most(TaskSpec.model_fields[name]) for name in ("max_concurrent_batches", "batch_size"))
        assert int(hard["pods"]) >= max(NODES, tasks * batches * size)
        assert int(hard["count/jobs.batch"]) >= max(5 * NODES, tasks * batches * size)
        assert int(hard["count/daemonsets.apps"]) >= 2 * tasks

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_nothing_but_pulls_is_possible_where_images_are_pulled(self, overlay: str) -> None:
        objects = build(overlay)
        hard = named(objects, "ResourceQuota", "ips")["spec"]["hard"]
        for kind in ("deployments.apps", "statefulsets.apps", "replicasets.apps", "cronjobs.batch", "services"):
            assert hard[f"count/{kind}"] == "0"
        assert not [obj for obj in objects if pod_of(obj) and obj["metadata"]["namespace"] == "ips"]

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_pods_that_pull_have_no_network(self, overlay: str) -> None:
        policies = [obj for obj in of_kind(build(overlay), "NetworkPolicy") if obj["metadata"]["namespace"] == "ips"]
        assert [policy["spec"] for policy in policies] == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]


def most(field: Any) -> int:
    """The upper bound of a field of a model."""
    return int(next(each.le for each in field.metadata if hasattr(each, "le")))


def made_by_functions() -> list[Object]:
    files = (ROOT / "tests" / "data" / "manifests").glob("*.json")
    return [json.loads(file.read_bytes()) for file in files]


def containers(manifest: Object) -> Iterator[Object]:
    pod = pod_of(manifest)
    assert pod
    yield from pod["spec"].get("initContainers", ())
    yield from pod["spec"]["containers"]


class TestPriority:
    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_prewarming_yields_to_everything(self, overlay: str) -> None:
        """Below the cluster autoscaler's cutoff too, so that no node is added or kept for it."""
        (found,) = of_kind(build(overlay), "PriorityClass")
        assert found["value"] < -10
        assert found["preemptionPolicy"] == "Never"
        assert found["globalDefault"] is False

    def test_functions_in_the_cluster_give_it_to_their_pods(self) -> None:
        (found,) = of_kind(build(IN_CLUSTER), "PriorityClass")
        settings = given(build(IN_CLUSTER), container_of(deployments()["batch"]))
        assert settings["IPS_PRIORITY_CLASS"] == found["metadata"]["name"]


class TestReferences:
    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_everything_is_somewhere_and_labelled(self, overlay: str) -> None:
        objects = build(overlay)
        spaces = {obj["metadata"]["name"] for obj in of_kind(objects, "Namespace")}
        for obj in objects:
            metadata = obj["metadata"]
            assert metadata["labels"]["app.kubernetes.io/part-of"] == "ips", metadata["name"]
            assert (metadata.get("namespace") in spaces) != (obj["kind"] in CLUSTER_WIDE), metadata["name"]

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_accounts_and_volumes_exist(self, overlay: str) -> None:
        objects = build(overlay)
        for obj in objects:
            pod = pod_of(obj)
            if pod is None:
                continue
            account = named(objects, "ServiceAccount", pod["spec"]["serviceAccountName"])
            assert account["metadata"]["namespace"] == obj["metadata"]["namespace"]
            assert account["automountServiceAccountToken"] is False
            for volume in pod["spec"]["volumes"]:
                if "configMap" in volume:
                    named(objects, "ConfigMap", volume["configMap"]["name"])
            mounted = {mount["name"] for mount in container_of(obj)["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}

    def test_selectors_find_their_pods_and_no_others(self) -> None:
        objects = build(IN_CLUSTER)
        for name, deployment in deployments().items():
            wanted = deployment["spec"]["selector"]["matchLabels"]
            assert selected(objects, wanted) == {name}
            assert selected(objects, named(objects, "Service", name)["spec"]["selector"]) == {name}
        for budget in of_kind(objects, "PodDisruptionBudget"):
            assert selected(objects, budget["spec"]["selector"]["matchLabels"]) == {budget["metadata"]["name"]}
        for policy in of_kind(objects, "NetworkPolicy"):
            selector = policy["spec"]["podSelector"]
            labels = selector.get("matchLabels", {})
            if policy["metadata"]["namespace"] == "ips-system" and labels:
                assert selected(objects, labels), policy["metadata"]["name"]
            for expression in selector.get("matchExpressions", ()):
                assert set(expression["values"]) == deployments().keys() - {"api"}

    def test_ports_have_one_name(self) -> None:
        for name, deployment in deployments().items():
            (port,) = container_of(deployment)["ports"]
            (served,) = named(build(IN_CLUSTER), "Service", name)["spec"]["ports"]
            assert (port["name"], served["targetPort"]) == ("http", "http")

    def test_scaled_and_protected_are_functions_that_run_more_than_once(self) -> None:
        objects = build(IN_CLUSTER)
        scaled = {
            obj["spec"]["scaleTargetRef"]["name"]: obj["spec"] for obj in of_kind(objects, "HorizontalPodAutoscaler")
        }
        budgets = {obj["metadata"]["name"]: obj["spec"] for obj in of_kind(objects, "PodDisruptionBudget")}
        assert budgets.keys() == {*scaled, "bridge"}
        assert named(objects, "Deployment", "bridge")["spec"]["replicas"] > budgets["bridge"]["minAvailable"]
        for name, scale in scaled.items():
            assert "replicas" not in deployments()[name]["spec"], "a Deployment and its autoscaler would contradict"
            assert budgets[name]["minAvailable"] < scale["minReplicas"] <= scale["maxReplicas"]
            assert scale["maxReplicas"] == TOPOLOGY.functions[name].max_instances
        for name in deployments().keys() - scaled.keys():
            assert deployments()[name]["spec"]["replicas"] == 1

    def test_ingresses_lead_to_services(self) -> None:
        objects = build(IN_CLUSTER)
        for ingress in of_kind(objects, "Ingress"):
            assert {host for each in ingress["spec"]["tls"] for host in each["hosts"]} == {
                rule["host"] for rule in ingress["spec"]["rules"]
            }
            for rule in ingress["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    named(objects, "Service", path["backend"]["service"]["name"])


def selected(objects: list[Object], labels: Mapping[str, str]) -> set[str]:
    """The objects whose pods have all these labels."""
    return {
        obj["metadata"]["name"]
        for obj in objects
        if (pod := pod_of(obj)) and labels.items() <= pod["metadata"]["labels"].items()
    }


class TestWaysIn:
    def test_only_the_api_is_open_and_only_the_bridge_may_post_messages(self) -> None:
        """The functions do not ask who posts a message to them."""
        objects = build(IN_CLUSTER)
        ways = {
            policy["metadata"]["name"]: policy["spec"]
            for policy in of_kind(objects, "NetworkPolicy")
            if policy["spec"].get("ingress")
        }
        assert ways.keys() == {"calls-in", "messages-in"}
        assert ways["calls-in"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "api"}}
        (rule,) = ways["messages-in"]["ingress"]
        assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "bridge"}}}]
        paths = [path for obj in of_kind(objects, "Ingress") for path in obj["spec"]["rules"][0]["http"]["paths"]]
        assert [path["backend"]["service"]["name"] for path in paths] == ["api"]

    def test_everything_else_is_closed(self) -> None:
        everything = named(build(IN_CLUSTER), "NetworkPolicy", "nothing-else")
        assert everything["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


class TestFunctions:
    def test_every_function_runs_as_the_topology_sizes_it(self) -> None:
        assert deployments().keys() == TOPOLOGY.functions.keys()
        for name, function in TOPOLOGY.functions.items():
            container = container_of(deployments()[name])
            assert container["args"] == [name]
            assert container["resources"]["limits"]["memory"] == f"{function.memory_mi_b}Mi"
            assert environment(container)["THREADS"] == str(function.concurrency)
            assert environment(container)["IPS_FUNCTION"] == name

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


def environment(container: Object) -> dict[str, str | None]:
    """A container's own variables; None for what comes from a Secret."""
    return {each["name"]: each.get("value") for each in container.get("env", ())}


def given(objects: list[Object], container: Object) -> dict[str, str]:
    """What a container is given by ConfigMaps."""
    maps = {obj["metadata"]["name"]: obj["data"] for obj in of_kind(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for each in container.get("envFrom", ()):
        found |= maps[each["configMapRef"]["name"]]
    return found


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


class TestSecrets:
    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_no_secret_is_among_the_manifests(self, overlay: str) -> None:
        objects = build(overlay)
        assert list(of_kind(objects, "Secret")) == []
        for obj in of_kind(objects, "ConfigMap"):
            assert not re.search(r"sha256:|PRIVATE KEY|IPS_API_KEYS|WEBHOOK_SECRETS", str(obj["data"]))

    def test_the_api_tells_callers_apart(self) -> None:
        assert given(build(IN_CLUSTER), container_of(deployments()["api"]))["IPS_AUTH"] == "api-key"


def test_no_file_is_left_out() -> None:
    """A manifest that no kustomization names would look as if it were in force."""
    for file in K8S.rglob("*.yaml"):
        if file.name != "kustomization.yaml":
            kustomization = yaml.safe_load((file.parent / "kustomization.yaml").read_text(encoding="utf-8"))
            assert file.name in kustomization["resources"], file


def test_another_namespace_moves_only_what_pulls(tmp_path: Path) -> None:
    moved = with_component("namespace", tmp_path)
    spaces = [(obj["kind"], obj["metadata"].get("namespace", obj["metadata"]["name"])) for obj in moved]
    assert not [kind for kind, space in spaces if space == "ips"]
    assert ("Namespace", "prewarm") in spaces
    assert {space for kind, space in spaces if kind == "Deployment"} == {"ips-system"}
    assert container_of(named(moved, "CronJob", "ips-orphans"))["args"] == ["--namespace=prewarm"]


def test_the_guide_s_overlay_is_one(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", guide, re.DOTALL)
    here = os.path.relpath(ROOT, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(text.replace("ips/deploy", f"{here}/deploy"), encoding="utf-8")
    (tmp_path / "credentials.json").write_text("{}", encoding="utf-8")
    objects = build(tmp_path)
    images = {container_of(obj)["image"] for obj in objects if pod_of(obj)}
    assert {image.partition(":")[0] for image in images} == {"registry.acme.example/ips"}
    settings = given(objects, container_of(named(objects, "Deployment", "api")))
    assert (settings["GOOGLE_CLOUD_PROJECT"], settings["K8S_NAMESPACE"]) == ("acme-prod", "ips")
    assert {rule["host"] for obj in of_kind(objects, "Ingress") for rule in obj["spec"]["rules"]} == {
        "ips.acme.example"
    }
