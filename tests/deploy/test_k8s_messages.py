"""The programs that stand in for Pub/Sub's pushes and for Cloud Scheduler in a cluster, on the emulator."""

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from deploy.k8s.bridge.bridge import Route, load_routes
from ips_common.bus.envelope import Delivery, parse_push, parse_raw
from ips_common.bus.pubsub import publisher_client
from ips_common.models.message import Kick, Tick
from ips_common.topology import load_topology
from tests.deploy.kustomize import K8S, build, of_kind

ROOT = Path(__file__).parents[2]
SECONDS = 30.0


@dataclass
class PubSub:
    """A project in the emulator with a topic and a pull subscription."""

    host: str
    project: str

    def __post_init__(self) -> None:
        channel = grpc.insecure_channel(self.host)
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(host=self.host, channel=channel))
        self.topic = f"projects/{self.project}/topics/ips-tracker"
        self.subscription = f"projects/{self.project}/subscriptions/ips-tracker-push"
        publisher_client().create_topic(name=self.topic)
        self.subscriber.create_subscription(name=self.subscription, topic=self.topic, ack_deadline_seconds=600)

    def publish(self, data: bytes, **attributes: str) -> None:
        publisher_client().publish(topic=self.topic, messages=[PubsubMessage(data=data, attributes=attributes)])

    @property
    def environment(self) -> dict[str, str]:
        """What a program gets."""
        own = {"GOOGLE_CLOUD_PROJECT": self.project, "PUBSUB_EMULATOR_HOST": self.host, "PYTHONPATH": str(ROOT)}
        return {**os.environ, **own}


@pytest.fixture
def pubsub(pubsub_emulator: str, monkeypatch: pytest.MonkeyPatch) -> PubSub:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    return PubSub(pubsub_emulator, f"bridge-{uuid.uuid4().hex[:8]}")


class Function(ThreadingHTTPServer):
    """A function that notes what is posted to it and answers what it is told to, in the end 204."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.posted: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        Thread(target=self.serve_forever, daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()

    def next(self) -> tuple[str, bytes]:
        return self.posted.get(timeout=SECONDS)


class _Handler(BaseHTTPRequestHandler):
    server: Function

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.posted.put((self.path, body))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def function() -> Iterator[Function]:
    with Function() as serving:
        serving.start()
        yield serving
        if serving.fileno() != -1:
            serving.shutdown()


@pytest.fixture
def bridge(pubsub: PubSub, function: Function, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The bridge as its pod runs it."""
    routes = tmp_path / "routes.json"
    route = {"subscription": "ips-tracker-push", "topic": "ips-tracker", "url": function.url, "workers": 2}
    routes.write_text(json.dumps([{**route, "seconds": 20}]))
    command = [sys.executable, str(K8S / "bridge" / "bridge.py"), str(routes)]
    with subprocess.Popen(command, env=pubsub.environment, cwd=tmp_path) as process:
        yield process
        process.kill()


def test_a_message_is_posted_as_a_push(pubsub: PubSub, function: Function, bridge: "subprocess.Popen[bytes]") -> None:
    del bridge
    kick = Kick(cluster="default")
    pubsub.publish(kick.model_dump_json(by_alias=True).encode(), requestId="r1")
    path, body = function.next()
    assert path == f"/projects/{pubsub.project}/topics/ips-tracker"
    delivery = parse_push(body)
    assert delivery == Delivery(kick, delivery.message_id, published=delivery.published, attributes={"requestId": "r1"})
    assert delivery.published
    assert parse_raw(body, path).topic == "ips-tracker"


def test_what_is_not_acknowledged_is_posted_again_and_what_is_not(
    pubsub: PubSub, function: Function, bridge: "subprocess.Popen[bytes]"
) -> None:
    function.answers = [503, 400]
    pubsub.publish(b"first")
    ids = [parse_raw(function.next()[1]).message_id for _ in range(3)]
    assert len(set(ids)) == 1
    pubsub.publish(b"second")
    assert parse_raw(function.next()[1]).data == b"second"
    assert function.posted.empty()
    assert bridge.poll() is None


def test_a_function_that_is_away_gets_its_messages_later(
    pubsub: PubSub, function: Function, bridge: "subprocess.Popen[bytes]"
) -> None:
    del bridge
    function.end()
    pubsub.publish(b"kept")
    with Function(function.server_port) as later:
        later.start()
        assert parse_raw(later.next()[1]).data == b"kept"
        later.shutdown()


def test_the_bridge_ends_when_told_to(pubsub: PubSub, function: Function, bridge: "subprocess.Popen[bytes]") -> None:
    pubsub.publish(b"it runs")
    function.next()
    bridge.send_signal(signal.SIGTERM)
    assert bridge.wait(SECONDS) == 0


def test_the_minute_s_message_is_a_tick(pubsub: PubSub) -> None:
    (cron,) = (obj for obj in of_kind(build("scheduler"), "CronJob"))
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    command = [sys.executable, str(K8S / "scheduler" / "publish.py"), *container["args"]]
    subprocess.run(command, env=pubsub.environment, check=True, timeout=SECONDS)
    (received,) = pubsub.subscriber.pull(subscription=pubsub.subscription, max_messages=2).received_messages
    push = {"message": {"data": base64.b64encode(received.message.data).decode(), "messageId": "1"}}
    assert parse_push(json.dumps(push).encode()).message == Tick()


def test_routes_are_the_topology_s_subscriptions() -> None:
    topology = load_topology(ROOT / "infra" / "topology.yaml")
    wanted = {
        (each.name, each.topic, f"http://{each.function}", each.ack_deadline_seconds) for each in topology.subscriptions
    }
    routes: list[Route] = load_routes(K8S / "bridge" / "routes.json")
    assert {(route.subscription, route.topic, route.url, route.seconds) for route in routes} == wanted
    assert all(route.workers > 0 for route in routes)
