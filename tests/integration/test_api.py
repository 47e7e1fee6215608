"""The API as deployed: its own process behind functions-framework, real emulators, a cluster behind TLS."""

import gzip
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from deploy.local.stack import Stack

TASKS = "/api/v1/tasks"
IMAGE = "registry.example/shop/web:1.4.2"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Api:
    """A client that sends what it is told, however wrong."""

    host: str
    port: int

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}), encode_chunked=isinstance(body, Iterator))
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers.items()), response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, headers=headers)

    def post(self, body: object, *, query: str = "", **headers: str) -> Answer:
        return self.send(
            "POST", TASKS + query, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        )

    def create(self, **fields: object) -> str:
        answer = self.post({"images": [IMAGE], **fields})
        assert answer.status == 201, answer.content
        return str(answer.json()["taskId"])

    def pages(self, path: str, items: str) -> Iterator[Any]:
        token = ""
        while token is not None:
            page = self.get(f"{path}&pageToken={token}").json()
            yield from page[items]
            token = page["nextPageToken"]


@pytest.fixture
def api(stack: Stack) -> Api:
    """A client of the running function."""
    url = urlsplit(stack.api_url)
    assert url.hostname
    assert url.port
    return Api(url.hostname, url.port)


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    document: dict[str, Any] = answer.json()
    assert (answer.status, document["status"], document["code"]) == (status, status, code), document
    assert document["requestId"] == answer.headers["X-Request-Id"]
    return document


def test_a_task_from_the_request_to_every_nodes_result(api: Api, stack: Stack) -> None:
    image = "registry.example/shop/api:2.0.0"
    created = api.post({"images": [image], "batchSize": 5, "skipPresent": False}, **{"X-Request-Id": "walk-through-1"})
    assert created.status == 201
    assert created.headers["X-Request-Id"] == "walk-through-1"
    path = created.headers["Location"]
    assert created.json()["progress"]["totalNodes"] == 20

    gate = api.get(f"{path}/gate?min=1&waitSeconds=45")
    assert gate.status == 200, gate.content
    task = api.get(path).json()
    assert (task["progress"]["completedNodes"], task["progress"]["percentage"]) == (20, 100.0)
    assert sum(task["imageDigests"][image].values()) == 20

    nodes = list(api.pages(f"{path}/nodes?limit=7", "nodes"))
    assert len({node["nodeName"] for node in nodes}) == len(nodes) == 20
    assert {node["status"] for node in nodes} == {"succeeded"}
    assert all(node["images"][0]["digest"] for node in nodes)

    for function in ("api", "batch", "tracker"):
        entries = [json.loads(line) for line in stack.logs(function).splitlines() if task["taskId"] in line]
        told = [entry["logging.googleapis.com/labels"] for entry in entries if "httpRequest" not in entry]
        assert {(labels["taskId"], labels["requestId"]) for labels in told} == {(task["taskId"], "walk-through-1")}


def test_a_gate_that_can_no_longer_open_says_so_at_once(api: Api) -> None:
    task_id = api.create(images=["registry.example/shop/missing:1.0.0"], batchSize=20)

    answer = api.get(f"{TASKS}/{task_id}/gate?min=1&waitSeconds=45")

    document = problem(answer, 409, "gate-shut")
    assert document["gate"]["failedNodes"] > 0


def test_cancelling_is_final_and_harmless_twice(api: Api) -> None:
    task_id = api.create(batchSize=1, skipPresent=False)

    first, second = (api.send("DELETE", f"{TASKS}/{task_id}") for _ in range(2))

    assert (first.status, second.status) == (200, 200)
    assert first.json()["status"] == second.json()["status"] == "cancelled"
    nodes = list(api.pages(f"{TASKS}/{task_id}/nodes?limit=50", "nodes"))
    assert "pending" not in {node["status"] for node in nodes}
    cancelled = list(api.pages(f"{TASKS}/{task_id}/nodes?status=cancelled", "nodes"))
    assert cancelled == [node for node in nodes if node["status"] == "cancelled"]


def test_a_finished_task_cannot_be_cancelled(api: Api) -> None:
    task_id = api.create(nodeSelector={"no": "such"})

    problem(api.send("DELETE", f"{TASKS}/{task_id}"), 409, "task-finished")


def test_many_identical_requests_at_once_make_one_task(api: Api) -> None:
    key = str(uuid4())
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(
                lambda _: api.post({"images": [IMAGE], "nodeSelector": {"no": "such"}}, **{"Idempotency-Key": key}),
                range(20),
            )
        )

    assert sorted(answer.status for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["taskId"] for answer in answers}) == 1
    problem(api.post({"images": ["nginx"]}, **{"Idempotency-Key": key}), 422, "idempotency-key-reused")


def test_a_dry_run_stores_nothing(api: Api) -> None:
    before = api.get(TASKS).json()["total"]

    answer = api.post({"images": [IMAGE], "batchSize": 8, "skipPresent": False}, query="?dryRun=true")

    assert answer.status == 200
    assert [len(batch["nodes"]) for batch in answer.json()["batches"]] == [8, 8, 4]
    assert api.get(TASKS).json()["total"] == before


def test_pages_show_every_task_once(api: Api) -> None:
    made = {api.create(nodeSelector={"no": "such"}) for _ in range(5)}

    tasks = list(api.pages(f"{TASKS}?status=failed&cluster=default&limit=2", "tasks"))

    listed = {task["taskId"] for task in tasks}
    assert len(listed) == len(tasks) == api.get(f"{TASKS}?status=failed").json()["total"]
    assert made <= listed
    created = [datetime.fromisoformat(task["createdAt"]) for task in tasks]
    assert created == sorted(created, reverse=True)


def test_everything_it_stands_on_is_ready(api: Api) -> None:
    for path in ("/ready", "/readyz"):
        answer = api.get(path)
        assert answer.status == 200
        assert set(answer.json()["checks"]) == {"firestore", "pubsub", "cluster/default"}


def test_figures_are_those_of_the_store(api: Api) -> None:
    api.create(nodeSelector={"no": "such"})

    text = api.get("/metrics").content.decode()

    failed = next(line for line in text.splitlines() if line.startswith('prewarm_tasks_total{status="failed"}'))
    assert float(failed.split()[1]) >= 1
    assert "prewarm_store_up 1.0" in text


def test_answers_are_gzipped_when_asked(api: Api) -> None:
    answer = api.get("/openapi.json", **{"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.content))["openapi"] == "3.1.0"


class TestBadInput:
    def test_everything_wrong_is_named_at_once(self, api: Api) -> None:
        answer = api.post({"images": ["nginx", "???"], "batchSize": 0, "cluster": "nowhere", "what": 1})

        document = problem(answer, 422, "invalid-request")
        assert {error["field"] for error in document["errors"]} == {"images[1]", "batchSize", "cluster", "what"}

    @pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a":1,"a":2}'])
    def test_malformed_json(self, api: Api, raw: bytes) -> None:
        problem(api.send("POST", TASKS, raw, {"Content-Type": "application/json"}), 400, "malformed-json")

    def test_a_body_that_is_too_long(self, api: Api) -> None:
        answer = api.send("POST", TASKS, b" " * (MIB + 1), {"Content-Type": "application/json"})

        problem(answer, 413, "body-too-large")

    def test_a_body_that_is_too_long_and_does_not_say_so(self, api: Api) -> None:
        chunks = iter([b'{"images": ["nginx"]}', *[b" " * 65536] * 20])

        answer = api.send("POST", TASKS, chunks, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})

        problem(answer, 413, "body-too-large")

    def test_a_long_body_where_none_is_wanted(self, api: Api) -> None:
        problem(api.send("POST", "/nowhere", b" " * (8 * MIB)), 404, "not-found")
        assert api.get("/health").status == 200

    @pytest.mark.parametrize(
        ("framing", "sent"),
        [
            ("Transfer-Encoding: chunked", b"ZZ\r\n{}\r\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked", b"15\r\n{"),
            ("Content-Length: 50", b"{}"),
        ],
    )
    def test_a_body_that_does_not_arrive_whole(self, api: Api, framing: str, sent: bytes) -> None:
        for path, expected in ((TASKS, b"broken-body"), ("/nowhere", b"not-found")):
            head = f"POST {path} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
            with socket.create_connection((api.host, api.port), timeout=60) as connection:
                connection.sendall(head.encode() + sent)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert expected in answer

    def test_a_compressed_body(self, api: Api) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

        answer = api.send("POST", TASKS, gzip.compress(b'{"images": ["nginx"]}'), headers)

        problem(answer, 415, "unsupported-content-encoding")

    def test_another_content_type(self, api: Api) -> None:
        problem(api.send("POST", TASKS, b"images=nginx", {"Content-Type": "text/plain"}), 415, "unsupported-media-type")

    @pytest.mark.parametrize("path", ["/", "/api/v1/nothing", f"{TASKS}/%00", f"{TASKS}/no-such-task", "/%ff"])
    def test_unknown_paths(self, api: Api, path: str) -> None:
        assert api.get(path).status == 404

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    def test_wrong_methods(self, api: Api, method: str) -> None:
        answer = api.send(method, TASKS)

        problem(answer, 405, "method-not-allowed")
        assert "POST" in answer.headers["Allow"]

    def test_nothing_of_this_is_an_error_of_ours(self, stack: Stack) -> None:
        assert "Traceback" not in stack.logs("api")
