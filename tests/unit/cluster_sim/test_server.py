"""The API server over HTTP: faults, tokens, forms of answers, and the simulation's own commands."""

import contextlib
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from deploy.local.cluster.running import RunningCluster, running_cluster

NODES = "/api/v1/nodes"
SECRETS = "/api/v1/namespaces/default/secrets"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """Plain requests to a cluster."""

    def __init__(self, cluster: RunningCluster) -> None:
        self.cluster = cluster
        self._tls = ssl.create_default_context(cafile=str(cluster.authority))

    @contextlib.contextmanager
    def open(
        self, method: str, path: str, *, body: Any = None, token: str | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        address = urlsplit(self.cluster.url)
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=self._tls, timeout=20)
        headers = {"Authorization": f"Bearer {token or self.cluster.token()}", **headers}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            yield connection.getresponse()
        finally:
            connection.close()

    def send(self, method: str, path: str, *, body: Any = None, token: str | None = None, **headers: str) -> Answer:
        with self.open(method, path, body=body, token=token, **headers) as response:
            content = response.read()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, json.loads(content) if content else None)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    with running_cluster(tmp_path_factory.mktemp("server"), nodes=3) as running:
        yield running


@pytest.fixture
def api(cluster: RunningCluster) -> Iterator[Client]:
    yield Client(cluster)
    cluster.command("faults/clear", {})


def secret(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


class TestFaults:
    def test_throttled_with_retry_after(self, api: Client) -> None:
        api.cluster.command("faults", {"status": 429, "retry_after": 7, "verbs": ["list"], "times": 1})
        refused = api.send("GET", NODES)
        assert (refused.status, refused.headers["retry-after"]) == (429, "7")
        assert refused.body["reason"] == "TooManyRequests"
        assert api.send("GET", NODES).status == 200

    @pytest.mark.parametrize("status", [500, 503, 504])
    def test_server_errors_are_status_objects(self, api: Client, status: int) -> None:
        api.cluster.command("faults", {"status": status})
        refused = api.send("GET", NODES)
        assert (refused.status, refused.body["kind"], refused.body["code"]) == (status, "Status", status)

    def test_connection_dropped_before_acting(self, api: Client) -> None:
        api.cluster.command("faults", {"drop": "before", "verbs": ["create"], "times": 1})
        with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
            api.send("POST", SECRETS, body=secret("never"))
        assert api.send("GET", f"{SECRETS}/never").status == 404

    def test_connection_dropped_after_acting(self, api: Client) -> None:
        api.cluster.command("faults", {"drop": "after", "verbs": ["create"], "times": 1})
        with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
            api.send("POST", SECRETS, body=secret("made"))
        assert api.send("GET", f"{SECRETS}/made").status == 200

    def test_unavailable_for_a_time(self, api: Client) -> None:
        with api.open("GET", f"{NODES}?watch=1") as watching:
            api.cluster.command("unavailable", {"seconds": 600})
            with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
                api.send("GET", NODES)
            assert len(watching.read().splitlines()) == 3
        api.cluster.command("faults/clear", {})
        assert api.send("GET", NODES).status == 200

    def test_watches_are_cut(self, api: Client) -> None:
        with (
            api.open("GET", f"{NODES}?watch=1") as nodes,
            api.open("GET", f"{SECRETS}?watch=1&timeoutSeconds=1") as other,
        ):
            assert nodes.readline().startswith(b'{"type":"ADDED"')
            assert api.cluster.command("watches/cut", {"resources": ["nodes"]}) == {"cut": 1}
            assert len(nodes.read().splitlines()) == 2
            assert other.status == 200

    def test_a_fault_leaves_other_users_alone(self, api: Client) -> None:
        api.cluster.command("faults", {"status": 503, "users": ["somebody-else"]})
        assert api.send("GET", NODES).status == 200


class TestTokens:
    def test_expired_token_and_its_renewal(self, api: Client) -> None:
        old = api.cluster.token("ips")
        assert api.send("GET", "/apis", token=old).status == 200
        api.cluster.command("tokens/expire", {"user": "ips", "renew": True})
        refused = api.send("GET", "/apis", token=old)
        assert (refused.status, refused.body["reason"]) == (401, "Unauthorized")
        assert api.send("GET", "/apis", token=api.cluster.token("ips")).status == 200

    def test_the_simulation_obeys_admins_only(self, api: Client) -> None:
        refused = api.send("POST", "/sim/faults", body={"status": 500}, token=api.cluster.token("ips"))
        assert refused.status == 403
        assert "cannot post path" in refused.body["message"]


class TestForms:
    def test_partial_metadata(self, api: Client) -> None:
        accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        listed = api.send("GET", f"{NODES}?limit=1", Accept=accept).body
        assert listed["kind"] == "PartialObjectMetadataList"
        assert listed["items"][0].keys() == {"metadata"}

    def test_table(self, api: Client) -> None:
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
        table = api.send("GET", f"{NODES}/node-00000", Accept=accept).body
        assert [column["name"] for column in table["columnDefinitions"]][:2] == ["Name", "Status"]
        assert table["rows"][0]["cells"][:2] == ["node-00000", "Ready"]

    def test_nothing_but_json(self, api: Client) -> None:
        assert api.send("GET", NODES, Accept="application/vnd.kubernetes.protobuf").status == 406
        assert api.send("POST", SECRETS, body={}, **{"Content-Type": "application/yaml"}).status == 415

    def test_a_body_may_be_too_large(self, api: Client) -> None:
        large = {**secret("large"), "data": {"a": "x" * 4_000_000}}
        assert api.send("POST", SECRETS, body=large).status == 413


class TestWatches:
    def test_initial_events_end_with_a_bookmark(self, api: Client) -> None:
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        with api.open("GET", f"{NODES}?{query}&timeoutSeconds=1") as response:
            *nodes, mark, last = [json.loads(line) for line in response.read().splitlines()]
        assert [node["type"] for node in nodes] == ["ADDED"] * 3
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        # Another bookmark, before the time is up, tells where to go on.
        assert last["type"] == "BOOKMARK"
        assert "annotations" not in last["object"]["metadata"]

    def test_a_long_selector_is_read(self, api: Client) -> None:
        names = "%2C".join(f"node-{i:05d}" for i in range(3000))
        found = api.send("GET", f"{NODES}?labelSelector=kubernetes.io%2Fhostname%20in%20%28{names}%29").body
        assert len(found["items"]) == 3

    def test_a_watch_ends_after_its_time(self, api: Client) -> None:
        with api.open("GET", f"{NODES}?watch=1&timeoutSeconds=1") as response:
            assert len(response.read().splitlines()) == 3


class TestCommands:
    def test_requests_are_counted_by_user_verb_resource_and_code(self, api: Client) -> None:
        api.cluster.command("requests/reset", {})
        api.send("GET", NODES)
        api.send("GET", f"{NODES}/node-00000")
        api.send("GET", NODES, token=api.cluster.token("ips"))
        counted = api.cluster.command("requests")
        assert counted == [
            {"user": "admin", "verb": "get", "resource": "nodes", "code": 200, "count": 1},
            {"user": "admin", "verb": "list", "resource": "nodes", "code": 200, "count": 1},
            {
                "user": "ips-functions@demo.iam.gserviceaccount.com",
                "verb": "list",
                "resource": "nodes",
                "code": 403,
                "count": 1,
            },
        ]

    def test_nodes_are_changed_by_pattern_or_pool(self, api: Client) -> None:
        changed = api.cluster.command("nodes/node-0000[12]", {"labels": {"row": "7"}})
        assert changed == {"nodes": ["node-00001", "node-00002"]}
        names = api.send("GET", f"{NODES}?labelSelector=row%3D7").body["items"]
        assert [item["metadata"]["name"] for item in names] == ["node-00001", "node-00002"]
        assert api.cluster.command("nodes", {"pool": "gpu", "stuck": False}) == {"nodes": ["node-00000"]}

    def test_a_command_that_makes_no_sense_is_refused(self, api: Client) -> None:
        with pytest.raises(RuntimeError, match="Extra inputs are not permitted"):
            api.cluster.command("nodes", {"sutck": True})
        with pytest.raises(RuntimeError, match="no node matches node-9"):
            api.cluster.command("nodes/node-9", {"stuck": True})
        with pytest.raises(RuntimeError, match="could not find the requested resource"):
            api.cluster.command("explode", {})


def test_scenario_file_sets_everything_and_its_timeline_runs(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    steps = [
        {"at": 0, "command": "nodes/node-00001", "body": {"unschedulable": True}},
        {"at": 0.1, "command": "faults", "body": {"name": "later", "status": 503, "verbs": ["delete"]}},
    ]
    scenario.write_text(
        yaml.safe_dump(
            {
                "images": [{"pattern": "a.example/*", "size_mib": 5}],
                "kubelet": {"parallel_pulls": 3},
                "nodes": [{"pattern": "node-00000", "images": ["a.example/x:1"]}],
                "faults": [{"name": "first", "latency_seconds": 0.01}],
                "timeline": steps,
            }
        )
    )
    with running_cluster(tmp_path / "cluster", nodes=2, scenario=scenario) as cluster:
        api = Client(cluster)
        first, second = api.send("GET", NODES).body["items"]
        assert first["status"]["images"][0]["sizeBytes"] == 5 * 1024 * 1024
        assert second["spec"] == {"unschedulable": True}
        assert cluster.command("kubelet")["parallel_pulls"] == 3
        later = threading.Event()
        while "later" not in [fault["name"] for fault in cluster.command("faults")]:
            later.wait(0.02)
        assert api.send("DELETE", f"{SECRETS}/x").status == 503
