"""What Pub/Sub and Eventarc post, as their documentation and the emulator have it."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_common.bus.envelope import Delivery, parse_push
from ips_common.errors import MalformedMessage
from ips_common.models.message import BatchMessage, Kick, Tick

PUBLISHED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BATCH = BatchMessage(task_id="task-1", attempt=1, batch=3, request_id="request-1")


def encoded(message: object) -> str:
    return base64.b64encode(json.dumps(message).encode()).decode()


def push(message: object, **more: Any) -> dict[str, Any]:
    return {
        "message": {"data": encoded(message), "messageId": "42", "publishTime": "2026-01-02T03:04:05Z", **more},
        "subscription": "projects/p/subscriptions/ips-batches-push",
    }


def parse(body: object) -> Delivery:
    return parse_push(json.dumps(body).encode())


def test_a_push_of_the_service() -> None:
    body = push(BATCH.model_dump(by_alias=True), attributes={"kind": "batch", "requestId": "request-1"})
    assert parse(body | {"deliveryAttempt": 7}) == Delivery(
        BATCH, "42", attempts=7, published=PUBLISHED, attributes={"kind": "batch", "requestId": "request-1"}
    )


def test_a_push_of_the_emulator() -> None:
    body = {
        "subscription": "projects/p/subscriptions/s",
        "message": {
            "publishTime": "2026-01-02T03:04:05Z",
            "publish_time": "2026-01-02T03:04:05Z",
            "data": encoded({"kind": "kick", "cluster": "default"}),
            "messageId": "1",
            "message_id": "1",
            "attributes": {},
        },
    }
    assert parse(body) == Delivery(Kick(cluster="default"), "1", published=PUBLISHED)


def test_a_cloud_event_in_structured_form() -> None:
    event = {
        "specversion": "1.0",
        "id": "42",
        "source": "//pubsub.googleapis.com/projects/p/topics/ips-batches",
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "datacontenttype": "application/json",
        "data": push(BATCH.model_dump(by_alias=True)),
    }
    assert parse(event) == Delivery(BATCH, "42", published=PUBLISHED)


def test_a_push_as_functions_framework_converts_it() -> None:
    message = push(BATCH.model_dump(by_alias=True))["message"]
    converted = {"message": {"@type": "type.googleapis.com/google.pubsub.v1.PubsubMessage", **message}}
    assert parse(converted) == Delivery(BATCH, "42", published=PUBLISHED)


def test_the_schedulers_message() -> None:
    assert parse(push({"kind": "tick"})).message == Tick()


def test_a_dead_letter_says_how_often_it_was_tried() -> None:
    attributes = {
        "CloudPubSubDeadLetterSourceDeliveryCount": "20",
        "CloudPubSubDeadLetterSourceSubscription": "ips-batches-push",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-01-02T03:04:05.678Z",
    }
    delivery = parse(push(BATCH.model_dump(by_alias=True), attributes=attributes))
    assert (delivery.dead, delivery.attempts) == (True, 20)
    assert delivery.attributes == attributes


@pytest.mark.parametrize("attempts", [None, "", "x", -1, 1.5, "9" * 5000, [], {}])
def test_a_strange_count_of_deliveries_counts_as_unknown(attempts: object) -> None:
    assert parse(push({"kind": "tick"}) | {"deliveryAttempt": attempts}).attempts == 0


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "push is not an object"),
        (b"5", "push is not an object"),
        (b'"message"', "push is not an object"),
        (b"[]", "push is not an object"),
        (b"{}", "push.message is not an object"),
        (b'{"data": 5}', "push.data is not an object"),
        (b'{"message": null}', "push.message is not an object"),
        (b'{"message": {"messageId": "42"}}', "message 42 has no data"),
        (b'{"message": {"messageId": "42", "attributes": {"Action": "Succeed"}}}', "message 42 has no data"),
        (b'{"message": {"message_id": "42", "data": ""}}', "message 42 has no data"),
        (b'{"message": {"messageId": "42", "attributes": [1]}}', "message 42: attributes is not an object"),
        (b'{"message": {"messageId": "42", "data": "%%%"}}', "message 42: data is not base64"),
        (b'{"message": {"messageId": "42", "data": "\xe2\x82\xac"}}', "message 42: data is not base64"),
        (b'{"message": {"messageId": "42", "data": "e30="}}', "message 42: .*kind"),
    ],
)
def test_a_message_that_cannot_be_read_is_malformed_and_named(body: bytes, complaint: str) -> None:
    with pytest.raises(MalformedMessage, match=complaint):
        parse_push(body)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"kind": "other"}, "kind|tag"),
        ({"kind": "x" * 100_000}, "no kind"),
        ({"kind": "batch", "taskId": "t", "attempt": 0}, "batch.batch"),
        ({"kind": "batch", "taskId": "", "attempt": 0, "batch": 1}, "taskId"),
        ({"kind": "batch", "taskId": "t", "attempt": -1, "batch": 1}, "attempt"),
        ({"kind": "kick", "cluster": "default", "more": 1}, "more"),
        ([], "data"),
        (7, "data"),
    ],
)
def test_a_message_of_the_wrong_shape_is_malformed_and_its_field_named(message: object, complaint: str) -> None:
    with pytest.raises(MalformedMessage, match=complaint) as caught:
        parse(push(message))
    assert len(str(caught.value)) < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "data", "attributes", "messageId", "deliveryAttempt", "kind"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def complaint_about(body: object) -> str | None:
    """What is said to be wrong; None if nothing is. Anything but a malformed message fails the test."""
    try:
        parse(body)
    except MalformedMessage as error:
        return str(error)
    return None


@given(JSON)
def test_whatever_is_posted_is_read_or_malformed(body: object) -> None:
    assert complaint_about(body) != ""


@given(JSON)
def test_whatever_a_message_holds_is_read_or_malformed(message: object) -> None:
    complaint = complaint_about(push(message))
    assert complaint is None or "message 42" in complaint


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-03-01T12:00:00.123456789Z", datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-01T12:00:00", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_message_knows_when_it_was_published(told: str | None, expected: datetime | None) -> None:
    message = {"data": base64.b64encode(b'{"kind": "tick"}').decode(), "messageId": "1", "publishTime": told}
    assert parse_push(json.dumps({"message": message}).encode()).published == expected


@pytest.mark.parametrize(
    "message_id", ["https://user:planted@hooks.example/", ["planted"], "planted" * 20, "plan\nted", {}]
)
def test_what_cannot_be_an_id_is_not_taken_for_one(message_id: object) -> None:
    push = {"message": {"data": encoded({"kind": "tick"}), "messageId": message_id}}
    assert parse(push).message_id == "unknown"


def test_a_kind_that_nobody_knows_is_not_repeated() -> None:
    with pytest.raises(MalformedMessage, match="of no kind") as caught:
        parse(push({"kind": "planted"}))
    assert "planted" not in str(caught.value)
