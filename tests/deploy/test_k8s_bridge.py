"""The bridge when it is to end and when Pub/Sub refuses it, on a server that answers pulls when a test wants."""

import logging
import logging.handlers
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    ModifyAckDeadlineRequest,
    PubsubMessage,
    PullRequest,
    PullResponse,
    ReceivedMessage,
)

from deploy.k8s.bridge.bridge import Bridge, Route, subscriber_client

SECONDS = 30.0
SUBSCRIPTION = "projects/acme/subscriptions/ips-tracker-push"
NOBODY = "http://127.0.0.1:9"


class Subscriber:
    """As much of Pub/Sub as the bridge calls; a pull is answered with what is put into `answers`."""

    def __init__(self) -> None:
        self.pulled = threading.Event()
        self.answers: queue.Queue[str | grpc.StatusCode] = queue.Queue()
        self.given_back: queue.Queue[tuple[str, int]] = queue.Queue()

    def pull(self, request: PullRequest, context: grpc.ServicerContext) -> PullResponse:
        assert request.subscription == SUBSCRIPTION
        self.pulled.set()
        while context.is_active():
            try:
                answer = self.answers.get(timeout=0.05)
            except queue.Empty:
                continue
            if isinstance(answer, grpc.StatusCode):
                context.abort(answer, "said the server")
            message = ReceivedMessage(ack_id=answer, message=PubsubMessage(data=b"{}", message_id="1"))
            return PullResponse(received_messages=[message])
        return PullResponse()

    def modify(self, request: ModifyAckDeadlineRequest, _: grpc.ServicerContext) -> bytes:
        for ack_id in request.ack_ids:
            self.given_back.put((ack_id, request.ack_deadline_seconds))
        return b""

    def acknowledge(self, request: AcknowledgeRequest, _: grpc.ServicerContext) -> bytes:
        raise AssertionError(request)


def unary(call: Callable[[Any, grpc.ServicerContext], Any], request: Any, answer: Any = bytes) -> grpc.RpcMethodHandler:
    serialize = bytes if answer is bytes else answer.serialize
    return grpc.unary_unary_rpc_method_handler(call, request.deserialize, serialize)


@pytest.fixture
def subscriber(monkeypatch: pytest.MonkeyPatch) -> Iterator[Subscriber]:
    serving = Subscriber()
    calls = {
        "Pull": unary(serving.pull, PullRequest, PullResponse),
        "ModifyAckDeadline": unary(serving.modify, ModifyAckDeadlineRequest),
        "Acknowledge": unary(serving.acknowledge, AcknowledgeRequest),
    }
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", calls),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{port}")
        yield serving
        server.stop(0).wait()


@contextmanager
def running(name: str) -> Iterator[Bridge]:
    bridge = Bridge("acme", [Route(name, "ips-tracker", NOBODY, workers=1, seconds=5)], subscriber_client)
    thread = threading.Thread(target=bridge.run)
    thread.start()
    try:
        yield bridge
    finally:
        bridge.stop()
        thread.join(SECONDS)


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ips-tracker-push-")]


def test_what_a_pull_brings_while_the_bridge_ends_is_given_back(subscriber: Subscriber) -> None:
    with running("ips-tracker-push") as bridge:
        assert subscriber.pulled.wait(SECONDS)
        bridge.stop()
        threading.Timer(0.2, subscriber.answers.put, ["lease"]).start()
        bridge.finish(SECONDS, pull_seconds=SECONDS)
        assert subscriber.given_back.get_nowait() == ("lease", 0)
        assert workers() == []


def test_a_pull_without_messages_does_not_keep_the_bridge_from_ending(
    subscriber: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    with running("ips-tracker-push") as bridge:
        assert subscriber.pulled.wait(SECONDS)
        bridge.stop()
        bridge.finish(SECONDS, pull_seconds=0.1)
        assert workers() == []
    assert [record for record in caplog.records if record.name == "ips.bridge"] == []


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, logging.ERROR),
        (grpc.StatusCode.NOT_FOUND, logging.ERROR),
        (grpc.StatusCode.FAILED_PRECONDITION, logging.ERROR),
        (grpc.StatusCode.UNAVAILABLE, logging.WARNING),
        (grpc.StatusCode.UNAUTHENTICATED, logging.WARNING),
    ],
)
def test_a_wrong_subscription_is_an_error_and_an_outage_is_not(
    subscriber: Subscriber, code: grpc.StatusCode, level: int
) -> None:
    said: queue.Queue[logging.LogRecord] = queue.Queue()
    handler = logging.handlers.QueueHandler(said)
    logger = logging.getLogger("ips.bridge")
    logger.addHandler(handler)
    try:
        with running("ips-tracker-push") as bridge:
            subscriber.answers.put(code)
            record = said.get(timeout=SECONDS)
            bridge.stop()
            bridge.finish(SECONDS, pull_seconds=0.1)
    finally:
        logger.removeHandler(handler)
    assert (record.levelno, vars(record)["subscription"]) == (level, SUBSCRIPTION)
    assert ("cannot be reached" in record.getMessage()) is (level == logging.WARNING)
