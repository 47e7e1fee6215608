"""Hostile input on the deployed code: no 5xx, nothing that hangs, no traceback, and no secret in any log."""

import base64
import gzip
import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit

import pytest

from deploy.local.cluster.running import reach
from deploy.local.stack import Stack
from ips_common.auth.api_key import new_key
from ips_common.models.message import BatchMessage, Notification
from tests.chaos.inspector import Inspector
from tests.integration.access import request, until
from tests.integration.hostile import body, push
from tests.unit.webhook.receiver import Odd, serving

SEED = 20261124
BODIES = 1200
PUSHES = 500
"""For each function behind Pub/Sub."""
PATIENCE = 20
"""Seconds for any single answer, on a machine that is busy."""
TASKS = "/api/v1/tasks"
KEY, HASH = new_key()
TOKEN = "token in a URL's query"
SECRETS = {
    "api key": KEY,
    "wrong api key": "ips_planted-wrong-key-4711",
    "bearer token": "planted-bearer-token.4711.abc",
    "basic credentials": "cGxhbnRlZDpiYXNpYy00NzEx",
    "cookie": "planted-cookie-4711",
    "password in a URL": "URL_PASSWORD",
    TOKEN: "planted-query-4711",
    "webhook secret": "planted-webhook-secret-4711",
    "content of a pull secret": "eyJhdXRocyI6eyJwbGFudGVkIjo0NzExfX0=",
}


@dataclass
class Land:
    """A stack in which secrets are planted, and a server that nobody may call."""

    stack: Stack
    inspector: Inspector
    private: Odd

    def send(
        self, function: str, raw: bytes, headers: Mapping[str, str] | None = None, path: str = "/", method: str = "POST"
    ) -> int:
        """Send a request as it is; returns the status, once all of the answer is there."""
        url = urlsplit(self.stack.url(function))
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=PATIENCE)
        try:
            connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def speak(self, raw: bytes) -> bytes:
        """Say something to the API that need not be HTTP; returns the answer's first line, empty if there is none."""
        with self.connect() as connection:
            connection.sendall(raw)
            with_answer = connection.makefile("rb")
            try:
                return with_answer.readline()
            except ConnectionError:
                return b""

    def connect(self) -> socket.socket:
        url = urlsplit(self.stack.api_url)
        return socket.create_connection((url.hostname or "", url.port or 0), timeout=PATIENCE)


@pytest.fixture(scope="module")
def land(emulators: dict[str, str], coverage_env: dict[str, str]) -> Iterator[Land]:
    with ExitStack() as cleanup:
        private = cleanup.enter_context(serving(lambda connection: connection.close()))
        stack = cleanup.enter_context(
            Stack(
                nodes=2,
                emulators=emulators,
                env={
                    **coverage_env,
                    "LOG_LEVEL": "DEBUG",
                    "IPS_WEBHOOK_ALLOWED_NETWORKS": "192.0.2.0/24",  # nobody's, in place of this machine's
                },
                function_env={
                    "api": {
                        "IPS_AUTH": "api-key",
                        "IPS_API_KEYS": json.dumps({"ci": {"role": "writer", "hash": HASH}}),
                    },
                    "notify": {"IPS_WEBHOOK_SECRETS": SECRETS["webhook secret"]},
                },
            )
        )
        yield Land(stack, Inspector(stack, emulators["firestore"], emulators["pubsub"]), private)


def all_of(count: int, send: Callable[[int], int]) -> Counter[int]:
    """Send so many, some at a time; returns how often each status came."""
    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(send, range(count)))


def test_no_body_is_more_than_the_api_can_take(land: Land) -> None:
    headers = {"X-API-Key": KEY}

    def send(number: int) -> int:
        random = Random(f"{SEED} body {number}")
        query = "?dryRun=true" if random.random() < 0.8 else ""
        kind = random.choice(["application/json"] * 20 + ["text/plain", "application/json; charset=utf-7", "\x7f"])
        return land.send("api", body(random), headers | {"Content-Type": kind}, TASKS + query)

    statuses = all_of(BODIES, send)
    assert set(statuses) <= {200, 201, 400, 413, 415, 422, 429}, statuses
    # They are not all refused for the same reason, so each has been looked at.
    assert statuses[400] > 10
    assert statuses[422] > 100
    assert statuses[200] + statuses[201] > 10


@pytest.mark.parametrize("function", ["batch", "tracker", "notify", "release"])
def test_no_push_is_more_than_a_function_can_take(land: Land, function: str) -> None:
    topic = "gcr" if function == "release" else "ips-batches"
    path = f"/projects/{land.stack.project}/topics/{topic}"

    def send(number: int) -> int:
        random = Random(f"{SEED} push {function} {number}")
        kind = random.choice(["application/json"] * 9 + ["text/plain"])
        return land.send(function, push(random), {"Content-Type": kind}, path)

    statuses = all_of(PUSHES, send)
    assert set(statuses) <= {204, 400}, statuses


def test_bodies_that_are_not_what_they_say(land: Land) -> None:
    headers = {"X-API-Key": KEY}
    bomb = gzip.compress(b"0" * 50_000_000)
    assert land.send("api", bomb, headers | {"Content-Encoding": "gzip"}, TASKS) == 415
    assert land.send("api", b"a" * (1024 * 1024 + 1), headers, TASKS) == 413
    for function in ("batch", "notify"):
        assert land.send(function, bomb, {"Content-Encoding": "gzip"}) == 400
        assert land.send(function, b"[" * (1024 * 1024 + 1)) == 400


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(500)),
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-Long: " + b"y" * 100_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-Nul: a\x00b\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n folded: b\r\n",
        b"GET /health HTTP/9.9\r\nHost: a\r\n",
        b"G\x00T /health HTTP/1.1\r\nHost: a\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"GET /api/v1/tasks HTTP/1.1\r\nHost: a\r\nX-API-Key: \xff\xfe\r\nX-Request-Id: \xe2\x80\xae\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-Id: " + b"z" * 4000 + b"\r\ntraceparent: 00-zz\r\n",
        b"GET /api/v1/tasks?limit=1e9&offset=-1&pageToken=%00%ff HTTP/1.1\r\nHost: a\r\nX-API-Key: "
        + KEY.encode()
        + b"\r\n",
    ],
    ids=lambda head: head[:24].decode("latin-1").encode("unicode_escape").decode() + f"... {len(head)} bytes",
)
def test_no_head_of_a_request_is_more_than_the_api_can_take(land: Land, head: bytes) -> None:
    line = land.speak(head + b"Connection: close\r\n\r\n")
    status = int(line.split()[1]) if line else 400
    assert 200 <= status < 500, line


def test_requests_that_never_end_keep_nobody_else_waiting(land: Land) -> None:
    with ExitStack() as cleanup:
        for number in range(16):
            connection = cleanup.enter_context(land.connect())
            head = f"POST {TASKS} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
            connection.sendall(head.encode() + (b"Content-Length: 500\r\n\r\n{" if number % 2 else b"X-Slow: "))
        for _ in range(60):  # more than the function has threads
            connection = cleanup.enter_context(land.connect())
            connection.sendall(head.encode() + b"Content-Length: 999999999\r\n\r\nx")
        began = time.monotonic()
        assert land.send("api", b"", path="/health", method="GET") == 200
        assert land.send("api", b"{}", {"X-API-Key": KEY}, TASKS) == 422
        assert time.monotonic() - began < PATIENCE


def test_a_webhook_that_got_past_the_api_is_still_not_called_where_nobody_may_go(land: Land) -> None:
    port = land.private.port
    hosts = [
        "169.254.169.254",
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "[64:ff9b::7f00:1]",
    ]
    answer = request(
        f"{land.stack.api_url}{TASKS}",
        "POST",
        {"images": ["registry.example/ssrf:1"], "webhookUrl": "https://hooks.invalid/"},
        {"X-API-Key": KEY},
    )
    task_id = answer.body["taskId"]
    until(lambda: land.inspector.store.task(task_id).task.webhook, "the task ends")
    webhook = land.inspector.store.task(task_id).task.webhook
    assert webhook
    message = Notification(task_id=task_id, event_id=webhook.event_id).model_dump_json(by_alias=True)
    for host in hosts:
        # As if an operator's rules had been wider when the task was accepted.
        url = f"http://{host}:{port}/?token={SECRETS[TOKEN]}"
        land.inspector.client.document(f"tasks/{task_id}").update({"spec.webhookUrl": url, "webhook.state": "pending"})
        assert land.send("notify", _envelope(message)) in {400, 503}, host
    assert land.private.connections == 0


def test_no_secret_is_in_any_log(land: Land) -> None:
    """Say every secret wherever a caller may put one, then look for it in all that was ever printed."""
    everywhere = {
        "Proxy-Authorization": f"Basic {SECRETS['basic credentials']}",
        "Cookie": f"session={SECRETS['cookie']}",
        "X-API-Key": KEY,
    }
    bodies: list[dict[str, object]] = [
        {"webhookUrl": f"https://user:{SECRETS['password in a URL']}@hooks.example/"},
        {"webhookUrl": f"https://hooks.invalid/?token={SECRETS[TOKEN]}"},
        {"imagePullSecrets": [SECRETS["content of a pull secret"]]},
        {"nodeSelector": {SECRETS["bearer token"] + "!": SECRETS["cookie"] + "!"}},
        {"batchSize": SECRETS["content of a pull secret"]},
        {SECRETS["bearer token"]: 1},
    ]
    for fields in bodies:
        raw = json.dumps({"images": ["registry.example/secret:1"], **fields}).encode()
        assert land.send("api", raw, everywhere, TASKS) in {201, 422}
    for headers in ({"X-API-Key": SECRETS["wrong api key"]}, {"Authorization": f"Bearer {SECRETS['bearer token']}"}):
        assert land.send("api", b"{}", headers, TASKS) == 401
    batch = BatchMessage(task_id="task-none", attempt=0, batch=1, request_id="r").model_dump_json(by_alias=True)
    for function in ("batch", "notify", "tracker", "release"):
        assert land.send(function, _envelope(batch), everywhere) in {204, 400}
        assert land.send(function, SECRETS["bearer token"].encode(), everywhere) in {204, 400}
    assert land.send("api", b"", everywhere, f"{TASKS}?token={SECRETS['cookie']}", "GET") == 422

    planted = SECRETS | {"the functions' token": reach(land.stack.folders.cluster).token("ips")}
    logs = {path.name: path.read_text(errors="replace") for path in land.stack.folders.logs.glob("*.log")}
    assert {f"{name}.log" for name in ("api", "batch", "tracker", "notify", "release")} <= logs.keys()
    found = [(file, name) for file, text in logs.items() for name, secret in planted.items() if secret in text]
    assert not found


def test_nothing_of_all_this_broke_anything(land: Land) -> None:
    for function in ("api", "batch", "tracker", "notify", "release"):
        logs = land.stack.logs(function)
        assert "Traceback" not in logs
        assert "started again" not in logs
        assert '"severity": "CRITICAL"' not in logs
    until(lambda: land.send("api", b"", path="/ready", method="GET") == 200, "the API is ready")


def _envelope(message: str) -> bytes:
    data = base64.b64encode(message.encode()).decode()
    return json.dumps({"message": {"data": data, "messageId": "1"}}).encode()
