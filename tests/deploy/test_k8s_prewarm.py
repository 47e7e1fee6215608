"""A prewarm as in a cluster: each function with its own account, messages by the bridge, nothing pushed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import yaml
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from deploy.k8s.bridge.bridge import load_routes
from deploy.local.cluster.running import RunningCluster
from deploy.local.parts import ROOT
from deploy.local.stack import Stack
from ips_common.topology import load_topology
from tests.deploy.deployed import CALLERS, deployed, user
from tests.deploy.kustomize import K8S, build, container_of, deployments, given
from tests.deploy.rights import asked_for, granted, refused
from tests.integration.access import Tasks

TOPOLOGY = ROOT / "infra" / "topology.yaml"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    with deployed(tmp_path) as running:
        yield running


@pytest.fixture
def stack(cluster: RunningCluster, tmp_path: Path, firestore_emulator: str, pubsub_emulator: str) -> Iterator[Stack]:
    """The functions with the settings of their pods, and no push subscriptions."""
    topology = yaml.safe_load(TOPOLOGY.read_text(encoding="utf-8"))
    topology["subscriptions"] = []
    (tmp_path / "topology.yaml").write_text(yaml.safe_dump(topology), encoding="utf-8")
    settings = given(build("overlays/in-cluster"), container_of(deployments()["batch"]))
    with Stack(
        kubeconfig=cluster.kubeconfig,
        topology=tmp_path / "topology.yaml",
        emulators={"firestore": firestore_emulator, "pubsub": pubsub_emulator},
        env={"IPS_PRIORITY_CLASS": settings["IPS_PRIORITY_CLASS"]},
        function_env={
            name: {"IPS_CLUSTERS": json.dumps({"default": {"kubeconfig": str(cluster.kubeconfig), "context": name}})}
            for name in CALLERS
        },
    ) as running:
        yield running


@pytest.fixture
def bridge(stack: Stack, tmp_path: Path, pubsub_emulator: str) -> Iterator[None]:
    """The bridge with the routes it is deployed with, to where the functions are here."""
    transport = SubscriberGrpcTransport(host=pubsub_emulator, channel=grpc.insecure_channel(pubsub_emulator))
    subscriber = SubscriberClient(transport=transport)
    for each in load_topology(TOPOLOGY).subscriptions:
        subscriber.create_subscription(
            name=f"projects/{stack.project}/subscriptions/{each.name}",
            topic=f"projects/{stack.project}/topics/{each.topic}",
            ack_deadline_seconds=int(each.ack_deadline_seconds),
        )
    routes = [
        replace(route, url=stack.url(route.url.removeprefix("http://")))
        for route in load_routes(K8S / "bridge" / "routes.json")
    ]
    fields = [{name: getattr(route, name) for name in route.__slots__} for route in routes]
    (tmp_path / "routes.json").write_text(json.dumps(fields), encoding="utf-8")
    command = [sys.executable, str(K8S / "bridge" / "bridge.py"), str(tmp_path / "routes.json")]
    environment = {**os.environ, **stack.env, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        yield
        assert process.poll() is None, "the bridge has ended"
        process.kill()


@pytest.mark.usefixtures("bridge")
def test_a_prewarm_in_batches_completes_with_the_rights_of_the_manifests(stack: Stack, cluster: RunningCluster) -> None:
    tasks = Tasks(stack)
    created = tasks.create("registry.example/app:1", "registry.example/sidecar:1", batchSize=1)
    task = tasks.finished(created["taskId"])
    assert (task["status"], task["progress"]["totalBatches"]) == ("completed", 4)
    for name in CALLERS:
        account = {"kind": "ServiceAccount", "name": name, "namespace": "ips-system"}
        rights = frozenset().union(*granted(build("overlays/in-cluster"), account).values())
        assert asked_for(cluster, user(name)) <= rights
        assert refused(cluster, user(name)) == []
    assert asked_for(cluster, user("batch"))
    assert asked_for(cluster, user("tracker"))
