"""The bus on Pub/Sub, through the plain publisher.

The client library's own publisher collects messages in a thread to send them together. Here whoever publishes has all
its messages at hand and waits for the answer, so one call per topic is both simpler and faster.
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import grpc
from google.api_core import exceptions as api
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.types import PubsubMessage

from ips_common.errors import BusUnavailable
from ips_common.google_call import CHANNEL_OPTIONS, ONCE, repeat
from ips_common.models.message import BatchMessage, Kick, Notification, Outgoing
from ips_common.ports.bus import Bus

TOPICS: dict[type[Outgoing], str] = {
    BatchMessage: "ips-batches",
    Kick: "ips-tracker",
    Notification: "ips-notifications",
}
"""Which topic a message goes to, as in `infra/topology.yaml`."""

TIMEOUT = 6.0
"""Seconds one publish may take with all its repetitions."""

_MESSAGES_PER_CALL = 1000
_PUBLISH = "pubsub.topics.publish"


class PubSubBus(Bus):
    """A `Bus` in one project."""

    def __init__(self, project: str, publisher: PublisherClient | None = None, *, timeout: float = TIMEOUT) -> None:
        self._project = project
        self._publisher = publisher or publisher_client()
        self._timeout = timeout

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Bus.publish`."""
        for kind, name in TOPICS.items():
            wires = (_wire(message) for message in messages if isinstance(message, kind))
            for part in _parts(wires):
                self._publish(self._topic(name), part)

    def ready(self, timeout: float) -> None:
        """See `Bus.ready`."""
        deadline = time.monotonic() + timeout
        for name in TOPICS.values():
            self._check(self._topic(name), max(0.05, deadline - time.monotonic()))

    def _publish(self, topic: str, messages: list[PubsubMessage]) -> None:
        def send(timeout: float, _: bool) -> None:  # noqa: FBT001 - a repeated message does no harm
            self._publisher.publish(topic=topic, messages=messages, retry=ONCE, timeout=timeout)

        try:
            repeat(send, timeout=self._timeout)
        except (api.GoogleAPICallError, GoogleAuthError) as error:
            raise BusUnavailable(f"{topic}: {error}") from error

    def _check(self, topic: str, timeout: float) -> None:
        """Ask for our rights to the topic, which everybody may; the emulator knows no rights, so there look at it."""
        try:
            granted = self._publisher.test_iam_permissions(
                request={"resource": topic, "permissions": [_PUBLISH]}, retry=ONCE, timeout=timeout
            )
            if _PUBLISH not in granted.permissions:
                raise BusUnavailable(f"{topic}: the function's account may not publish")
        except api.MethodNotImplemented:
            self._look(topic, timeout)
        except (api.GoogleAPICallError, GoogleAuthError) as error:
            raise BusUnavailable(f"{topic}: {error}") from error

    def _look(self, topic: str, timeout: float) -> None:
        try:
            self._publisher.get_topic(topic=topic, retry=ONCE, timeout=timeout)
        except api.GoogleAPICallError as error:
            raise BusUnavailable(f"{topic}: {error}") from error

    def _topic(self, name: str) -> str:
        return f"projects/{self._project}/topics/{name}"


def publisher_client() -> PublisherClient:
    """Return a client of Pub/Sub, or of the emulator that PUBSUB_EMULATOR_HOST names."""
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
    host = emulator or PublisherClient.DEFAULT_ENDPOINT
    channel = (
        grpc.insecure_channel(emulator, options=CHANNEL_OPTIONS)
        if emulator
        else PublisherGrpcTransport.create_channel(host, options=CHANNEL_OPTIONS)
    )
    return PublisherClient(transport=PublisherGrpcTransport(host=host, channel=channel))


def _wire(message: Outgoing) -> PubsubMessage:
    attributes = {"kind": message.kind} | ({"requestId": message.request_id} if message.request_id else {})
    return PubsubMessage(data=message.model_dump_json(by_alias=True, exclude_none=True).encode(), attributes=attributes)


def _parts(messages: Iterator[PubsubMessage]) -> Iterator[list[PubsubMessage]]:
    while part := list(islice(messages, _MESSAGES_PER_CALL)):
        yield part
