"""Pull messages from Pub/Sub and post them to the functions, in the form in which Pub/Sub pushes them elsewhere.

So nothing but the API has to be reached from outside, and nobody outside can post a message: the functions do not ask
who does. An answer of 2xx acknowledges; anything else has the message delivered again after the subscription's
back-off. A worker has one message at a time, so what a function is slow with waits in Pub/Sub.
"""

import base64
import http.client
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.api_core.exceptions import BadRequest, DeadlineExceeded, Forbidden, GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import ReceivedMessage

from ips_common.wiring.configuration import configure

logger = logging.getLogger("ips.bridge")

_AWAY = (GoogleAPICallError, GoogleAuthError)
_WRONG = (BadRequest, Forbidden, NotFound)
"""What does not pass by itself: no such subscription, one that pushes, no right to it."""
_PULL_SECONDS = 120.0  # Pub/Sub answers before that; to give up earlier might lose a message until its deadline
_CALL_SECONDS = 10.0
_LONGEST_PAUSE = 30.0
_LAST_SECONDS = 20.0
"""How long messages in hand have once the process is to end."""
_LAST_PULL_SECONDS = 2.0
"""How long pulls have by then: where there are messages they are answered within that."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the messages of one subscription go.

    Args:
        subscription: its name.
        topic: of which topic; the path posted to names it, as a push's does.
        url: the function's base URL.
        workers: how many messages may be with the function at a time.
        seconds: how long it may take for one: the subscription's acknowledgement deadline.
    """

    subscription: str
    topic: str
    url: str
    workers: int
    seconds: float


def load_routes(path: Path) -> list[Route]:
    """Read routes from a JSON list of objects."""
    return [Route(**fields) for fields in json.loads(path.read_bytes())]


class Bridge:
    """Workers that pull and post until they are stopped.

    Args:
        project: whose subscriptions they are.
        routes: where messages go.
        connect: makes a client. Pulls have one of their own, as to close it is the way to end them.
    """

    def __init__(self, project: str, routes: Sequence[Route], connect: Callable[[], SubscriberClient]) -> None:
        self._project = project
        self._pulls = ExitStack()
        self._pulling = self._pulls.enter_context(connect())
        self._answering = connect()
        self._stop = threading.Event()
        self._broken = False
        self._in_hand: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(route,), name=f"{route.subscription}-{number}", daemon=True)
            for route in routes
            for number in range(route.workers)
        ]

    def run(self) -> bool:
        """Work until stopped; returns false if a worker failed for a reason nobody thought of."""
        for thread in self._threads:
            thread.start()
        self._stop.wait()
        return not self._broken

    def stop(self) -> None:
        """Take no more messages; any thread, or a signal, may call it."""
        self._stop.set()

    def finish(self, seconds: float = _LAST_SECONDS, *, pull_seconds: float = _LAST_PULL_SECONDS) -> None:
        """Give what is in hand some time, and give back what is not done by then, for others to take at once.

        What a pull still brings is given back too: else nobody would get it until its deadline. So pulls are not broken
        off at once, but only when they seem to wait for messages that there are none of.

        Args:
            seconds: how long this may take, but for giving back.
            pull_seconds: how much of it pulls get.
        """
        end = time.monotonic() + seconds
        self._wait_for_workers(min(end, time.monotonic() + pull_seconds))
        self._pulls.close()
        self._wait_for_workers(end)
        for ack_id, subscription in list(self._in_hand.items()):
            self._answer(subscription, ack_id, done=False)

    def _wait_for_workers(self, end: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self, route: Route) -> None:
        try:
            self._work(route)
        except Exception:
            logger.exception("worker failed")
            self._broken = True
            self._stop.set()

    def _work(self, route: Route) -> None:
        subscription = f"projects/{self._project}/subscriptions/{route.subscription}"
        pause = 1.0
        while not self._stop.is_set():
            try:
                pulled = self._pulling.pull(
                    subscription=subscription, max_messages=1, retry=None, timeout=_PULL_SECONDS
                ).received_messages
            except DeadlineExceeded:
                continue
            except _AWAY as error:
                if self._stop.is_set():
                    return
                _tell(subscription, error)
                self._stop.wait(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
                continue
            pause = 1.0
            for received in pulled:
                self._pass_on(route, subscription, received)

    def _pass_on(self, route: Route, subscription: str, received: ReceivedMessage) -> None:
        self._in_hand[received.ack_id] = subscription
        try:
            done = not self._stop.is_set() and self._post(route, push_of(subscription, received))
            self._answer(subscription, received.ack_id, done=done)
        finally:
            del self._in_hand[received.ack_id]

    def _post(self, route: Route, push: Mapping[str, Any]) -> bool:
        url = urlsplit(route.url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=route.seconds)
        try:
            path = f"/projects/{self._project}/topics/{route.topic}"
            connection.request("POST", path, json.dumps(push), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            logger.warning("function cannot be reached", extra={"url": route.url, "error": str(error)})
            return False
        finally:
            connection.close()
        return 200 <= answer.status < 300

    def _answer(self, subscription: str, ack_id: str, *, done: bool) -> None:
        try:
            if done:
                self._answering.acknowledge(
                    subscription=subscription, ack_ids=[ack_id], retry=None, timeout=_CALL_SECONDS
                )
            else:
                self._answering.modify_ack_deadline(
                    subscription=subscription,
                    ack_ids=[ack_id],
                    ack_deadline_seconds=0,
                    retry=None,
                    timeout=_CALL_SECONDS,
                )
        except _AWAY as error:
            logger.warning("message will be delivered again", extra={"error": str(error)})


def _tell(subscription: str, error: Exception) -> None:
    said = {"subscription": subscription, "error": str(error)}
    if isinstance(error, _WRONG):
        logger.error("subscription cannot be pulled from", extra=said)
    else:
        logger.warning("Pub/Sub cannot be reached", extra=said)


def push_of(subscription: str, received: ReceivedMessage) -> dict[str, Any]:
    """Return a message in the form of a push (https://cloud.google.com/pubsub/docs/push#receive_push)."""
    message = received.message
    body: dict[str, Any] = {
        "data": base64.b64encode(message.data).decode(),
        "messageId": message.message_id,
        "publishTime": message.publish_time.isoformat(),
    }
    if message.attributes:
        body["attributes"] = dict(message.attributes)
    push: dict[str, Any] = {"message": body, "subscription": subscription}
    if received.delivery_attempt:
        push["deliveryAttempt"] = received.delivery_attempt
    return push


def subscriber_client() -> SubscriberClient:
    """Return a client of Pub/Sub, or of its emulator where there is one."""
    if host := os.environ.get("PUBSUB_EMULATOR_HOST"):
        return SubscriberClient(transport=SubscriberGrpcTransport(host=host, channel=grpc.insecure_channel(host)))
    return SubscriberClient()


def main(arguments: Sequence[str]) -> int:
    """Work by the routes of a file until told to stop: `bridge.py ROUTES`."""
    settings = configure()
    bridge = Bridge(settings.project, load_routes(Path(arguments[0])), subscriber_client)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bridge.stop())
    well = bridge.run()
    bridge.finish()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
