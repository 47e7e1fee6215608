"""How events are signed."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ips_common.webhook.signature import HEADER, sign
from tests.unit.webhook.receiver import Request, verify

AT = datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC)


def signed(body: bytes, *secrets: str) -> Request:
    return Request("/", {HEADER: sign(body, secrets, AT)}, body)


def test_the_header_is_a_time_and_an_hmac() -> None:
    # printf '1767323045.{}' | openssl dgst -sha256 -hmac secret
    assert sign(b"{}", ["secret"], AT) == (
        "t=1767323045,v1=4a10b40c9c842e332be9ba9d790f8f8df44002dca45fd184d766fa8db55ef209"
    )


def test_a_receiver_may_know_either_of_two_secrets() -> None:
    request = signed(b'{"a": 1}', "the-new-secret", "the-old-secret")
    assert verify(request, "the-new-secret")
    assert verify(request, "the-old-secret")
    assert not verify(request, "another-secret")


@pytest.mark.parametrize("changed", [b'{"a": 2}', b"", b'{"a": 1} '])
def test_another_body_does_not_fit(changed: bytes) -> None:
    request = signed(b'{"a": 1}', "secret")
    assert not verify(Request("/", request.headers, changed), "secret")


def test_another_time_does_not_fit() -> None:
    request = signed(b'{"a": 1}', "secret")
    later = {HEADER: request.headers[HEADER].replace("t=1767323045", "t=1767323046")}
    assert not verify(Request("/", later, request.body), "secret")


def test_the_check_in_the_documentation_works() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "webhooks.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    is_ours = names["is_ours"]
    now = datetime.now(UTC)
    header = sign(b"{}", ["the-new-secret", "the-old-secret"], now)
    assert is_ours(header, b"{}", "the-new-secret")
    assert is_ours(header, b"{}", "the-old-secret")
    assert not is_ours(header, b"{}", "another-secret")
    assert not is_ours(header, b"[]", "the-new-secret")
    assert not is_ours(sign(b"{}", ["secret"], now - timedelta(hours=1)), b"{}", "secret")
