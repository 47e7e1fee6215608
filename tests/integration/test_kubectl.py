"""Real clients on the simulated cluster: kubectl and the official Python client."""

import datetime as dt
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, watch

from deploy.local.cluster.running import RunningCluster, running_cluster

NAMESPACE = "clients"
_TIMEOUT_SECONDS = 30

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def job(name: str, *images: str, node: str = "node-00001") -> Any:
    """A Job that pulls images on a node."""
    pinned = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pinned]}}}
    containers = [{"name": f"image-{i}", "image": image, "command": ["true"]} for i, image in enumerate(images)]
    spec = {"restartPolicy": "Never", "affinity": affinity, "containers": containers}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app": "test"}},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), nodes=5) as running:
        yield running


class Kubectl:
    """kubectl with the cluster's kubeconfig and a cache of its own."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._directory = cluster.directory
        self._environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(cluster.directory)}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = ["kubectl", "--cache-dir", str(self._directory / "cache"), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self._environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *arguments: str, given: str = "", fails: bool = False) -> str:
        with self.start(*arguments) as process:
            output, errors = process.communicate(given, timeout=_TIMEOUT_SECONDS)
        assert (process.returncode != 0) == fails, output + errors
        return output + errors

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))


@pytest.fixture(scope="module")
def kubectl(cluster: RunningCluster) -> Kubectl:
    found = Kubectl(cluster)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    found("create", "-f", "-", given=yaml.safe_dump(namespace))
    return found


class TestKubectl:
    def test_get_nodes_is_a_table(self, kubectl: Kubectl) -> None:
        head, *rows = kubectl("get", "nodes").splitlines()
        assert head.split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
        assert [row.split()[:2] for row in rows] == [[f"node-{i:05d}", "Ready"] for i in range(5)]

    def test_create_and_wait_for_completion(self, kubectl: Kubectl) -> None:
        created = kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(job("wait", "a.example/x:1")))
        assert created == "job.batch/wait created\n"
        waited = kubectl("wait", "-n", NAMESPACE, "--for=condition=complete", "job/wait", "--timeout=20s")
        assert waited == "job.batch/wait condition met\n"

    def test_wide_pods_name_their_node(self, kubectl: Kubectl) -> None:
        kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(job("wide", "a.example/x:1")))
        kubectl("wait", "-n", NAMESPACE, "--for=condition=complete", "job/wide", "--timeout=20s")
        head, row = kubectl("get", "pods", "-n", NAMESPACE, "-l", "job-name=wide", "-o", "wide").splitlines()
        assert head.split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
        assert row.split()[1:4] == ["0/1", "Completed", "0"]
        assert row.split()[6] == "node-00001"

    def test_get_as_json(self, kubectl: Kubectl) -> None:
        kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(job("as-json", "a.example/x:1")))
        assert kubectl.json("get", "job", "as-json", "-n", NAMESPACE)["spec"]["completionMode"] == "NonIndexed"
        names = [item["metadata"]["name"] for item in kubectl.json("get", "jobs", "-n", NAMESPACE)["items"]]
        assert "as-json" in names

    def test_watch_shows_the_pod_end(self, kubectl: Kubectl) -> None:
        kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(job("watched", "slow4.example/x:1")))
        kubectl("wait", "-n", NAMESPACE, "--for=create", "pod", "-l", "job-name=watched", "--timeout=20s")
        with kubectl.start("get", "pods", "-n", NAMESPACE, "-l", "job-name=watched", "-w") as process:
            assert process.stdout is not None
            seen = []
            for line in process.stdout:
                seen.append(line.split()[2])
                if "Completed" in line:
                    break
            process.terminate()
        assert seen[:2] == ["STATUS", "ContainerCreating"]
        assert seen[-1] == "Completed"

    def test_delete_takes_the_pods_along(self, kubectl: Kubectl) -> None:
        kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(job("delete", "slow9.example/x:1")))
        kubectl("wait", "-n", NAMESPACE, "--for=create", "pod", "-l", "job-name=delete", "--timeout=20s")
        assert "deleted" in kubectl("delete", "job", "delete", "-n", NAMESPACE, "--timeout=20s")
        kubectl("wait", "-n", NAMESPACE, "--for=delete", "pod", "-l", "job-name=delete", "--timeout=20s")
        assert "NotFound" in kubectl("get", "job", "delete", "-n", NAMESPACE, fails=True)

    def test_cordon_and_uncordon(self, kubectl: Kubectl) -> None:
        assert kubectl("cordon", "node-00004") == "node/node-00004 cordoned\n"
        assert kubectl("get", "node", "node-00004").splitlines()[1].split()[1] == "Ready,SchedulingDisabled"
        assert kubectl("uncordon", "node-00004") == "node/node-00004 uncordoned\n"
        assert "unschedulable" not in kubectl.json("get", "node", "node-00004")["spec"]

    def test_can_i_follows_roles(self, kubectl: Kubectl) -> None:
        asked = ("auth", "can-i", "create", "jobs", "-n", NAMESPACE)
        assert kubectl(*asked) == "yes\n"
        assert kubectl("--context", "ips", *asked, fails=True) == "no\n"

    def test_a_typo_in_a_manifest_is_refused(self, kubectl: Kubectl) -> None:
        typo = job("typo", "a.example/x:1")
        typo["spec"]["backofLimit"] = 3
        refused = kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(typo), fails=True)
        assert 'strict decoding error: unknown field "spec.backofLimit"' in refused

    def test_events_tell_of_pulls(self, kubectl: Kubectl) -> None:
        kubectl("create", "-n", NAMESPACE, "-f", "-", given=yaml.safe_dump(job("events", "b.example/y:1")))
        kubectl("wait", "-n", NAMESPACE, "--for=condition=complete", "job/events", "--timeout=20s")
        told = kubectl("get", "events", "-n", NAMESPACE)
        assert 'Successfully pulled image "b.example/y:1" in ' in told
        assert "Image size: " in told

    def test_what_is_not_emulated_says_so(self, kubectl: Kubectl) -> None:
        refused = kubectl("get", "cronjobs", "-n", NAMESPACE, fails=True)
        assert "does not emulate cronjobs.batch" in refused


@pytest.fixture(scope="module")
def api(cluster: RunningCluster, kubectl: Kubectl) -> Iterator[client.ApiClient]:
    del kubectl  # made the namespace
    load: Any = config.new_client_from_config  # which has no types
    with load(str(cluster.kubeconfig), context="admin") as found:
        yield found


def plain(api: client.ApiClient, found: object) -> Any:
    """A typed object as the JSON it came as."""
    serialize: Any = api.sanitize_for_serialization
    return serialize(found)


class TestPythonClient:
    def test_typed_objects_come_back(self, api: client.ApiClient) -> None:
        batch = client.BatchV1Api(api)
        created = batch.create_namespaced_job(NAMESPACE, job("typed", "a.example/x:1"))
        read = batch.read_namespaced_job("typed", NAMESPACE)
        assert isinstance(read, client.V1Job)
        assert read.spec is not None
        assert read.spec.completion_mode == "NonIndexed"
        assert read.metadata is not None
        assert created.metadata is not None
        assert read.metadata.uid == created.metadata.uid
        assert isinstance(read.metadata.creation_timestamp, dt.datetime)

    def test_nodes_are_listed_in_pages(self, api: client.ApiClient) -> None:
        core = client.CoreV1Api(api)
        first = plain(api, core.list_node(limit=3))
        rest = plain(api, core.list_node(limit=3, _continue=first["metadata"]["continue"]))
        assert first["metadata"]["remainingItemCount"] == 2
        names = [node["metadata"]["name"] for node in first["items"] + rest["items"]]
        assert names == [f"node-{i:05d}" for i in range(5)]

    def test_watch_follows_a_list(self, api: client.ApiClient) -> None:
        batch = client.BatchV1Api(api)
        version = plain(api, batch.list_namespaced_job(NAMESPACE))["metadata"]["resourceVersion"]
        batch.create_namespaced_job(NAMESPACE, job("followed", "a.example/x:1"))
        # The client's watch has no types.
        watcher: Any = watch.Watch
        follow = watcher()
        seen = []
        for event in follow.stream(
            batch.list_namespaced_job,
            NAMESPACE,
            field_selector="metadata.name=followed",
            resource_version=version,
            timeout_seconds=_TIMEOUT_SECONDS,
        ):
            seen.append(event["type"])
            if event["object"].status.succeeded:
                follow.stop()
        assert seen[0] == "ADDED"
        assert set(seen[1:]) == {"MODIFIED"}

    def test_a_refusal_is_an_api_exception(self, api: client.ApiClient) -> None:
        with pytest.raises(client.ApiException) as raised:
            client.BatchV1Api(api).read_namespaced_job("nope", NAMESPACE)
        assert raised.value.status == 404
        assert json.loads(str(raised.value.body))["reason"] == "NotFound"

    def test_a_node_is_labelled_by_patch(self, api: client.ApiClient) -> None:
        patch: Any = {"metadata": {"labels": {"disk": "fast"}}}
        patched = client.CoreV1Api(api).patch_node("node-00002", patch)
        labels = plain(api, patched)["metadata"]["labels"]
        assert labels["disk"] == "fast"
        assert labels["kubernetes.io/os"] == "linux"


def test_the_cluster_ends_at_once_while_clients_watch(tmp_path: Path) -> None:
    with running_cluster(tmp_path, nodes=1) as running, Kubectl(running).start("get", "nodes", "-w") as watching:
        assert watching.stdout is not None
        assert "NAME" in watching.stdout.readline()
        os.kill(running.pid, 15)
        # kubectl ends when its watch does; the context managers would complain of a server that stays.
        assert watching.wait(_TIMEOUT_SECONDS) is not None
