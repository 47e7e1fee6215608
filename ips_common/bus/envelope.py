"""The envelope in which Pub/Sub delivers a message, of our own kinds or of any.

Three forms carry the same: a push (`{"message": {...}, "subscription": ...}`), a CloudEvent in structured form (that
object as `data`), and one in binary form (that object as the body, `ce-*` headers beside it).
https://cloud.google.com/pubsub/docs/push#receive_push
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from ips_common.errors import MalformedMessage
from ips_common.models.message import BatchMessage, Kick, Notification, Tick

Message = BatchMessage | Kick | Notification | Tick

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])
_LONGEST_QUOTE = 300
_TOPIC = re.compile(r"projects/[^/]+/topics/([^/?]+)")
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DEAD_LETTER_COUNT = "CloudPubSubDeadLetterSourceDeliveryCount"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message.

    `attempts` counts deliveries where Pub/Sub tells (with a dead-letter policy, or of a dead letter), else it is 0.
    `published` is when Pub/Sub took the message, if it says so.
    """

    message: Message
    message_id: str
    attempts: int = 0
    published: datetime | None = None
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


@dataclass(frozen=True, slots=True)
class RawDelivery:
    """One delivery of a message that others published; `data` is empty where it has none.

    `topic` is the name of the topic, empty if nothing tells; `attempts` is as in `Delivery`. `published` is when
    Pub/Sub took the message: with the id it names the message, however often it is delivered.
    """

    topic: str
    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    published: str = ""
    attempts: int = 0

    @property
    def log_fields(self) -> Mapping[str, Any]:
        """What every log entry about this delivery should say."""
        return {"topic": self.topic, **({"attempts": self.attempts} if self.attempts else {})}


def parse_push(body: bytes) -> Delivery:
    """Read a delivery.

    Raises:
        MalformedMessage: the body is none; the message names its id, if it has one, and what is wrong.
    """
    envelope = _open(body)
    return Delivery(
        message=_decode(envelope),
        message_id=envelope.message_id,
        attempts=envelope.attempts,
        published=_time(envelope.published),
        dead=_DEAD_LETTER_COUNT in envelope.attributes,
        attributes=envelope.attributes,
    )


def parse_raw(body: bytes, *places: str) -> RawDelivery:
    """Read a delivery of a message whose content is not ours.

    Args:
        body: what was posted.
        places: where the topic's full name may stand: the path it was posted to, the header `ce-source`. The `source`
            of a CloudEvent is looked at besides.

    Raises:
        MalformedMessage: as for `parse_push`.
    """
    envelope = _open(body)
    data = envelope.message.get("data")
    topics = (_TOPIC.search(place) for place in (*places, envelope.source))
    return RawDelivery(
        topic=next((found[1] for found in topics if found), ""),
        data=_bytes(data, envelope.message_id) if data else b"",
        attributes=envelope.attributes,
        message_id=envelope.message_id,
        published=envelope.published,
        attempts=envelope.attempts,
    )


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What surrounds a message, checked; `message` is the message as it came."""

    message: Mapping[str, Any]
    message_id: str
    attributes: Mapping[str, str]
    attempts: int
    source: str
    published: str


def _open(body: bytes) -> _Envelope:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the push is not JSON: {error}") from error
    push = _object(parsed, "push")
    envelope = push if "message" in push else _object(push.get("data", push), "push.data")
    message = _object(envelope.get("message"), "push.message")
    message_id = _id(message.get("messageId") or message.get("message_id"))
    attributes = _object(message.get("attributes") or {}, f"message {message_id}: attributes")
    return _Envelope(
        message=message,
        message_id=message_id,
        attributes={str(name): str(value) for name, value in attributes.items()},
        attempts=_count(envelope.get("deliveryAttempt")) or _count(attributes.get(_DEAD_LETTER_COUNT)),
        source=str(push.get("source") or ""),
        published=str(message.get("publishTime") or message.get("publish_time") or ""),
    )


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} is not an object")
    return value


def _id(value: object) -> str:
    """A message's id if it can be one: ids go into logs, where nothing else of a message belongs."""
    text = str(value) if isinstance(value, str | int) else ""
    return text if _MESSAGE_ID.fullmatch(text) else "unknown"


def _count(value: object) -> int:
    text = str(value)
    return int(text) if len(text) < 10 and text.isdecimal() else 0


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


def _bytes(data: object, message_id: str) -> bytes:
    if not isinstance(data, str):
        raise MalformedMessage(f"message {message_id}: data is not a string")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedMessage(f"message {message_id}: data is not base64: {error}") from error


def _decode(envelope: _Envelope) -> Message:
    data, message_id = envelope.message.get("data"), envelope.message_id
    if not isinstance(data, str) or not data:
        raise MalformedMessage(f"message {message_id} has no data")
    try:
        return _MESSAGE.validate_json(_bytes(data, message_id))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "data"
        # The library would quote a kind that it does not know.
        words = "is of no kind that there is" if problem["type"] == "union_tag_invalid" else problem["msg"]
        raise MalformedMessage(f"message {message_id}: {where}: {words[:_LONGEST_QUOTE]}") from error
