"""What a push is answered with: acknowledged, delivered again, or left to the dead letters."""

import base64
import json

import flask
import pytest

from ips_common import push
from ips_common.bus.envelope import Delivery
from ips_common.errors import MalformedMessage, PermanentError, StoreUnavailable

TICK = b'{"kind": "tick"}'


def answer(data: bytes, error: Exception | None = None, *, dead_letters: bool) -> int:
    def handle(delivery: Delivery) -> None:
        del delivery
        if error:
            raise error

    body = {"message": {"messageId": "1", "data": base64.b64encode(data).decode()}}
    with flask.Flask("test").test_request_context("/", method="POST", data=json.dumps(body)) as context:
        return push.receive(context.request, handle, dead_letters=dead_letters)[1]


@pytest.mark.parametrize("dead_letters", [True, False])
@pytest.mark.parametrize(
    ("error", "status"), [(None, 204), (StoreUnavailable("away"), 503), (ZeroDivisionError("a bug"), 500)]
)
def test_what_works_is_acknowledged_and_what_may_yet_work_comes_again(
    error: Exception | None,
    status: int,
    dead_letters: bool,  # noqa: FBT001 - both
) -> None:
    assert answer(TICK, error, dead_letters=dead_letters) == status


@pytest.mark.parametrize(
    ("data", "error"), [(b"{", None), (TICK, MalformedMessage("of another kind")), (TICK, PermanentError("no"))]
)
def test_what_can_never_work_is_left_to_the_dead_letters_where_there_are_any(
    data: bytes, error: Exception | None
) -> None:
    assert answer(data, error, dead_letters=True) == 400
    assert answer(data, error, dead_letters=False) == 204
