"""Topics, subscriptions and messages on the Pub/Sub emulator, over its REST form."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from deploy.local.errors import StackError
from ips_common.topology import Subscription, Topology

_TIMEOUT_S = 10
_CONFLICT = 409
_NOT_FOUND = 404

# The emulators are on this machine: a proxy of the environment has no business here.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Messaging:
    """One project of a Pub/Sub emulator."""

    def __init__(self, host: str, project: str) -> None:
        """Reach the emulator at `host` (`address:port`)."""
        self._base = f"http://{host}/v1/projects/{project}"
        self._project = project

    def create(self, topology: Topology, endpoints: Mapping[str, str]) -> None:
        """Create every topic and every push subscription; `endpoints` maps a function to its base URL.

        Raises:
            StackError: The emulator refuses one of them.
        """
        for topic in topology.topics:
            self._call("PUT", f"topics/{topic.name}", {})
        for subscription in topology.subscriptions:
            self._call("PUT", f"subscriptions/{subscription.name}", self._subscription(subscription, endpoints))

    def publish(self, topic: str, message: Mapping[str, Any]) -> None:
        """Publish `message` as JSON.

        Raises:
            StackError: The emulator does not take it.
        """
        data = base64.b64encode(json.dumps(message).encode()).decode()
        self._call("POST", f"topics/{topic}:publish", {"messages": [{"data": data}]})

    def delete(self, topology: Topology) -> None:
        """Delete what `create` made, on an emulator that outlives the stack.

        Raises:
            StackError: The emulator refuses.
        """
        for subscription in topology.subscriptions:
            self._call("DELETE", f"subscriptions/{subscription.name}")
        for topic in topology.topics:
            self._call("DELETE", f"topics/{topic.name}")

    def _subscription(self, subscription: Subscription, endpoints: Mapping[str, str]) -> dict[str, Any]:
        topics = f"projects/{self._project}/topics"
        body: dict[str, Any] = {
            "topic": f"{topics}/{subscription.topic}",
            # From this path functions-framework tells which topic a message came from.
            "pushConfig": {"pushEndpoint": f"{endpoints[subscription.function]}/{topics}/{subscription.topic}"},
            "ackDeadlineSeconds": subscription.ack_deadline_seconds,
            "messageRetentionDuration": f"{subscription.retention_seconds}s",
            "retryPolicy": {
                "minimumBackoff": f"{subscription.retry.minimum_backoff_seconds}s",
                "maximumBackoff": f"{subscription.retry.maximum_backoff_seconds}s",
            },
        }
        if subscription.dead_letter:
            body["deadLetterPolicy"] = {
                "deadLetterTopic": f"{topics}/{subscription.dead_letter.topic}",
                "maxDeliveryAttempts": subscription.dead_letter.max_delivery_attempts,
            }
        return body

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        request = urllib.request.Request(
            f"{self._base}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S):
                pass
        except urllib.error.HTTPError as error:
            with error:
                told = " ".join(error.read().decode("utf-8", "replace").split())
            settled = {"PUT": _CONFLICT, "DELETE": _NOT_FOUND}
            if settled.get(method) != error.code:
                raise StackError(f"the Pub/Sub emulator refuses {method} {path}: {told or error.reason}") from error
        except OSError as error:
            raise StackError(f"the Pub/Sub emulator does not answer {method} {path}: {error}") from error
