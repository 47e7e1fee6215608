"""How events of others arrive, in every form, and which answer has Pub/Sub do what."""

import json
import logging
from collections.abc import Callable
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_common import push
from ips_common.bus.envelope import RawDelivery, parse_raw
from ips_common.errors import (
    Conflict,
    MalformedMessage,
    PermanentError,
    ReleaseNotFound,
    StoreUnavailable,
)
from tests.unit.release.events import WEB, WEB_DIGEST, Message, recorded, registry

MESSAGE = Message("gcr", b'{"a": 1}', {"kind": "x"})
EXPECTED = RawDelivery("gcr", b'{"a": 1}', {"kind": "x"}, "1", "2026-01-02T03:04:05Z")
SOURCE = "//pubsub.googleapis.com/projects/p/topics/gcr"


def parse(body: object, *places: str) -> RawDelivery:
    return parse_raw(json.dumps(body).encode(), *places)


def test_a_push_takes_its_topic_from_the_path() -> None:
    assert parse(MESSAGE.push(), "/projects/p/topics/gcr") == EXPECTED


def test_with_a_dead_letter_policy_deliveries_are_counted() -> None:
    assert parse(MESSAGE.push(deliveryAttempt=3), "/projects/p/topics/gcr").attempts == 3


def test_a_cloud_event_in_structured_form_has_its_topic_as_the_source() -> None:
    event = {"specversion": "1.0", "id": "1", "source": SOURCE, "data": MESSAGE.push()}
    assert parse(event, "/") == EXPECTED


def test_a_cloud_event_in_binary_form_has_its_topic_in_a_header() -> None:
    assert parse(MESSAGE.push(), "/", SOURCE) == EXPECTED


def test_a_push_of_the_emulator_to_a_path_that_says_nothing() -> None:
    body = MESSAGE.push()
    body["message"] |= {"message_id": "1", "publish_time": "2026-01-02T03:04:05Z"}
    assert parse(body, "/").topic == ""


def test_a_message_of_attributes_alone_has_no_data() -> None:
    message = recorded("cloud-deploy-release-rendered")
    assert "data" not in message.push()["message"]
    read = parse(message.push(), message.path)
    assert (read.data, read.attributes, read.topic) == (b"", message.attributes, "clouddeploy-operations")
    assert parse(message.push() | {"message": {**message.push()["message"], "data": ""}}).data == b""


@pytest.mark.parametrize("data", [7, ["x"], "no base64!", "eA", "\ud800"])
def test_data_that_is_no_base64_is_malformed(data: object) -> None:
    with pytest.raises(MalformedMessage, match="message 1: data is not"):
        parse({"message": {"messageId": "1", "data": data}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
PUSHES = st.fixed_dictionaries(
    {},
    optional={
        "message": JSON
        | st.fixed_dictionaries(
            {}, optional={"data": JSON, "attributes": JSON, "messageId": JSON, "publishTime": JSON}
        ),
        "data": JSON,
        "source": JSON,
        "deliveryAttempt": JSON,
    },
)


@given(st.binary() | (PUSHES | JSON).map(json.dumps).map(str.encode), st.text())
def test_whatever_is_posted_is_a_delivery_or_malformed(body: bytes, place: str) -> None:
    try:
        read = parse_raw(body, place)
    except MalformedMessage:
        return
    assert all(isinstance(text, str) for pair in read.attributes.items() for text in pair)


def answer(
    body: object, handle: Callable[[RawDelivery], None], path: str = "/projects/p/topics/gcr", **options: Any
) -> tuple[int, dict[str, str]]:
    app = flask.Flask("test")
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with app.test_request_context(path, method="POST", data=data, **options):
        response = flask.make_response(push.receive_foreign(flask.request, handle))
        return response.status_code, dict(response.headers)


def raising(error: Exception) -> Callable[[RawDelivery], None]:
    def handle(delivery: RawDelivery) -> None:
        assert delivery.message_id == "1"
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedMessage("no event"), 400),
        (StoreUnavailable("away"), 503),
        (ReleaseNotFound("gone"), 204),
        (Conflict("no"), 204),
        (PermanentError("no"), 204),
        (RuntimeError("a bug"), 500),
    ],
)
def test_only_what_is_done_or_beyond_help_is_acknowledged(error: Exception, status: int) -> None:
    assert answer(MESSAGE.push(), raising(error))[0] == status


def test_what_is_handled_is_acknowledged() -> None:
    handled: list[RawDelivery] = []
    assert answer(MESSAGE.push(), handled.append)[0] == 204
    assert answer(MESSAGE.push(), handled.append, "/", headers={"ce-source": SOURCE})[0] == 204
    assert handled == [EXPECTED, EXPECTED]


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", {"message": 1}, {"message": {"data": 1}}])
def test_what_is_no_push_is_not_acknowledged(body: object) -> None:
    assert answer(body, raising(AssertionError()))[0] == 400


def test_what_is_malformed_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    answer({"message": {"messageId": "4711", "data": 1}}, raising(AssertionError()))
    (entry,) = caplog.records
    assert entry.levelno == logging.ERROR
    assert entry.getMessage() == "message cannot be read and is left to the dead letters"
    assert "4711" in str(entry.__dict__["error"])


def test_a_release_event_reaches_its_function_whole() -> None:
    handled: list[RawDelivery] = []
    message = registry(digest=f"{WEB}@{WEB_DIGEST}")
    assert answer(message.push(), handled.append, message.path)[0] == 204
    assert handled == [message.delivery()]
