"""Publishing and receiving: the fake and Pub/Sub alike, and what only Pub/Sub can get wrong."""

import base64
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from grpc import insecure_channel

from ips_common.bus.envelope import Delivery, parse_push
from ips_common.bus.memory import MemoryBus
from ips_common.bus.pubsub import TOPICS, PubSubBus, publisher_client
from ips_common.errors import BusUnavailable
from ips_common.google_call import ONCE
from ips_common.models.message import BatchMessage, Kick
from ips_common.ports.bus import Bus

BATCHES = [
    BatchMessage(task_id="task-1", attempt=0, batch=1, request_id="request-1"),
    BatchMessage(task_id="task-1", attempt=2, batch=2),
]
KICK = Kick(cluster="default", task_id="task-1", request_id="request-1")


class Subscribed(ABC):
    """A bus and what subscribers of its topics have received."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    @abstractmethod
    def received(self, count: int) -> list[tuple[str, Delivery]]:
        """Wait for so many messages; returns each with its topic, as a push would deliver it."""


class SubscribedMemory(Subscribed):
    def __init__(self) -> None:
        super().__init__(MemoryBus())

    def received(self, count: int) -> list[tuple[str, Delivery]]:
        assert isinstance(self.bus, MemoryBus)
        published = self.bus.take()
        assert len(published) == count
        return [(TOPICS[type(message)], Delivery(message, "1")) for message in published]


class SubscribedPubSub(Subscribed):
    def __init__(self, project: str, host: str) -> None:
        super().__init__(PubSubBus(project))
        publisher = publisher_client()
        self._subscriber = SubscriberClient(
            transport=SubscriberGrpcTransport(host=host, channel=insecure_channel(host))
        )
        self._subscriptions: dict[str, str] = {}
        for name in TOPICS.values():
            topic = publisher.create_topic(name=f"projects/{project}/topics/{name}")
            subscription = f"projects/{project}/subscriptions/{name}"
            self._subscriber.create_subscription(name=subscription, topic=topic.name)
            self._subscriptions[name] = subscription

    def received(self, count: int) -> list[tuple[str, Delivery]]:
        found: list[tuple[str, Delivery]] = []
        for _ in range(50):
            if len(found) >= count:
                break
            for topic, subscription in self._subscriptions.items():
                found += [(topic, parse_push(body)) for body in self._pull(subscription)]
        assert len(found) == count
        return found

    def _pull(self, subscription: str) -> Iterator[bytes]:
        try:
            answer = self._subscriber.pull(subscription=subscription, max_messages=1000, retry=ONCE, timeout=0.5)
        except DeadlineExceeded:
            return  # nothing there
        for received in answer.received_messages:
            message = received.message
            yield json.dumps(
                {
                    "subscription": subscription,
                    "message": {
                        "data": base64.b64encode(message.data).decode(),
                        "attributes": dict(message.attributes),
                        "messageId": message.message_id,
                    },
                }
            ).encode()
        if answer.received_messages:
            ids = [received.ack_id for received in answer.received_messages]
            self._subscriber.acknowledge(subscription=subscription, ack_ids=ids)


@pytest.fixture(params=["memory", "pubsub"])
def subscribed(request: pytest.FixtureRequest, project: str, monkeypatch: pytest.MonkeyPatch) -> Subscribed:
    if request.param == "memory":
        return SubscribedMemory()
    host: str = request.getfixturevalue("pubsub_emulator")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
    return SubscribedPubSub(project, host)


def _by_topic(received: Sequence[tuple[str, Delivery]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for topic, delivery in received:
        found.setdefault(topic, []).append(delivery.message)
    return {topic: sorted(messages, key=str) for topic, messages in found.items()}


def test_each_message_reaches_its_topic_as_it_was_sent(subscribed: Subscribed) -> None:
    subscribed.bus.publish([BATCHES[0], KICK, BATCHES[1]])
    assert _by_topic(subscribed.received(3)) == {
        "ips-batches": sorted(BATCHES, key=str),
        "ips-tracker": [KICK],
    }


def test_nothing_to_publish_is_fine(subscribed: Subscribed) -> None:
    subscribed.bus.publish([])
    assert subscribed.received(0) == []


def test_more_messages_than_one_call_takes_are_all_published(subscribed: Subscribed) -> None:
    messages = [BatchMessage(task_id="task-1", attempt=0, batch=number) for number in range(1, 1502)]
    subscribed.bus.publish(messages)
    received = [delivery.message for _, delivery in subscribed.received(len(messages))]
    assert {message.batch for message in received if isinstance(message, BatchMessage)} == set(range(1, 1502))


def test_a_bus_that_is_there_is_ready(subscribed: Subscribed) -> None:
    subscribed.bus.ready(5)


def test_messages_carry_their_kind_and_request_as_attributes(
    pubsub_emulator: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_emulator)
    subscribed = SubscribedPubSub(project, pubsub_emulator)
    subscribed.bus.publish([*BATCHES, KICK])
    attributes = [sorted(delivery.attributes.items()) for _, delivery in subscribed.received(3)]
    assert sorted(attributes) == [
        [("kind", "batch")],
        [("kind", "batch"), ("requestId", "request-1")],
        [("kind", "kick"), ("requestId", "request-1")],
    ]


@pytest.fixture(params=["memory", "refusing", "silent", "no-topic"])
def absent(request: pytest.FixtureRequest, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """A bus that cannot publish."""
    if request.param == "memory":
        bus = MemoryBus()
        bus.down = True
        yield bus
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        if request.param == "no-topic":
            host = request.getfixturevalue("pubsub_emulator")
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
        yield PubSubBus(project, timeout=0.7)


def test_a_bus_that_is_away_is_said_to_be_unavailable(absent: Bus) -> None:
    with pytest.raises(BusUnavailable):
        absent.publish(BATCHES)
    with pytest.raises(BusUnavailable):
        absent.ready(0.7)


def test_an_error_names_the_topic_and_keeps_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    with pytest.raises(BusUnavailable, match="projects/p-1/topics/ips-tracker") as caught:
        PubSubBus("p-1", timeout=0.2).publish([KICK])
    assert caught.value.__cause__ is not None


def test_the_fake_can_fail_in_the_middle() -> None:
    bus = MemoryBus()
    bus.fail_after(1)
    with pytest.raises(BusUnavailable):
        bus.publish(BATCHES)
    assert bus.published == BATCHES[:1]
    bus.fail_after(None)
    bus.publish(BATCHES[1:])
    assert bus.take() == BATCHES
    assert bus.take() == []
