"""Whatever a manifest names is there, and an overlay of one's own can build on it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from ips_common.topology import load_topology
from tests.deploy.kustomize import (
    IN_CLUSTER,
    K8S,
    OVERLAYS,
    Object,
    build,
    container_of,
    deployments,
    given,
    named,
    of_kind,
    pod_of,
    with_component,
)

ROOT = Path(__file__).parents[2]
TOPOLOGY = load_topology(ROOT / "infra" / "topology.yaml")
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}


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
