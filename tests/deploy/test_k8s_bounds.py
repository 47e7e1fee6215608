"""What is there to stop something stops it, and lets through what the functions do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import podsecurity
from functions.batch.handler import create_batch
from ips_common.config import Settings
from ips_common.models.message import BatchMessage
from ips_common.models.results import NodeResult
from ips_common.models.task import TaskSpec
from ips_common.sight import Sight
from ips_common.verdict import Patience, judge_refusal
from tests.deploy.kustomize import (
    AUTOPILOT,
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
)
from tests.unit.world import JOBS, START, World

ROOT = Path(__file__).parents[2]
NODES = 5_000
"""Nodes of the largest task the product is measured with."""


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


def test_what_is_said_of_the_quota_is_so() -> None:
    world = World(nodes=1)
    task = world.create()
    world.cluster.quota = 0
    create_batch(
        BatchMessage(task_id=task.task_id, attempt=0, batch=1),
        store=world.store,
        bus=world.bus,
        clusters=world.clusters,
        settings=JOBS,
        seconds_left=lambda: 30.0,
    )
    (report,) = world.store.reports(task.task_id, [(0, 1)])
    (of_job,) = report.problems.values()
    verdict = judge_refusal(["nginx:1"], Sight(), 'pods "x" is forbidden: exceeded quota: ips', Patience(), START)
    assert isinstance(verdict, NodeResult)
    (of_pod,) = (image.problem for image in verdict.images)
    assert of_pod
    guide, manifest = (ROOT / "docs" / "deployment.md", K8S / "base" / "bounds.yaml")
    said = re.search(
        r"Job is over it end as `(\w+)`, which a retry .*? pod is, as `(\w+)`", guide.read_text(), re.DOTALL
    )
    comment = re.match(
        r"# .*? Job over the quota ends as (\w+) .*? pod .*? ends as (\w+)", manifest.read_text(), re.DOTALL
    )
    assert said
    assert comment
    assert said.groups() == comment.groups() == (of_job.reason, of_pod.reason)
    assert (of_job.retryable, of_pod.retryable) == (True, False)


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


class TestSecrets:
    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_no_secret_is_among_the_manifests(self, overlay: str) -> None:
        objects = build(overlay)
        assert list(of_kind(objects, "Secret")) == []
        for obj in of_kind(objects, "ConfigMap"):
            assert not re.search(r"sha256:|PRIVATE KEY|IPS_API_KEYS|WEBHOOK_SECRETS", str(obj["data"]))

    def test_the_api_tells_callers_apart(self) -> None:
        assert given(build(IN_CLUSTER), container_of(deployments()["api"]))["IPS_AUTH"] == "api-key"
