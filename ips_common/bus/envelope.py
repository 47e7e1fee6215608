"""The envelope in which Pub/Sub delivers a message.

Three forms carry the same: a push (`{"message": {...}, "subscription": ...}`), a CloudEvent in structured form (that
object as `data`), and one in binary form (that object as the body, `ce-*` headers beside it).
https://cloud.google.com/pubsub/docs/push#receive_push
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from ips_common.errors import MalformedMessage
from ips_common.models.message import BatchMessage, Kick, Notification, Tick

Message = BatchMessage | Kick | Notification | Tick

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
_LONGEST_QUOTE = 300
_DEAD_LETTER_COUNT = "CloudPubSubDeadLetterSourceDeliveryCount"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message.

    `attempts` counts deliveries where Pub/Sub tells (with a dead-letter policy, or of a dead letter), else it is 0.
    """

    message: Message
    message_id: str
    attempts: int = 0
    dead: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def log_fields(self) -> Mapping[str, Any]:
        """What every log entry about this delivery should say."""
        fields = {
            "taskId": getattr(self.message, "task_id", None),
            "batch": getattr(self.message, "batch", None),
            "cluster": getattr(self.message, "cluster", None),
            "requestId": getattr(self.message, "request_id", None),
        }
        return {name: value for name, value in fields.items() if value is not None}


def parse_push(body: bytes) -> Delivery:
    """Read a delivery.

    Raises:
        MalformedMessage: the body is none; the message names its id, if it has one, and what is wrong.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the push is not JSON: {error}") from error
    push = _object(parsed, "push")
    envelope = push if "message" in push else _object(push.get("data", push), "push.data")
    message = _object(envelope.get("message"), "push.message")
    message_id = str(message.get("messageId") or message.get("message_id") or "unknown")
    attributes = _object(message.get("attributes") or {}, f"message {message_id}: attributes")
    return Delivery(
        message=_decode(message.get("data"), message_id),
        message_id=message_id,
        attempts=_count(envelope.get("deliveryAttempt")) or _count(attributes.get(_DEAD_LETTER_COUNT)),
        dead=_DEAD_LETTER_COUNT in attributes,
        attributes={str(name): str(value) for name, value in attributes.items()},
    )


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} is not an object")
    return value


def _count(value: object) -> int:
    text = str(value)
    return int(text) if len(text) < 10 and text.isdecimal() else 0


def _decode(data: object, message_id: str) -> Message:
    if not isinstance(data, str) or not data:
        raise MalformedMessage(f"message {message_id} has no data")
    try:
        return _MESSAGE.validate_json(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, ValidationError):
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in problem["loc"]) or "data"
            # The library quotes what it was given, however long that is.
            raise MalformedMessage(f"message {message_id}: {where}: {problem['msg'][:_LONGEST_QUOTE]}") from error
        raise MalformedMessage(f"message {message_id}: data is not base64: {error}") from error
