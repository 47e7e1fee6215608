"""Webhooks: where a caller wants to hear of a task's end, and how far the telling has come."""

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from ips_common.models.base import Model, UtcDatetime

MAX_ERROR = 300
"""Longest `last_error`, in characters."""

_VISIBLE = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # no backslash: some parsers take it for a slash
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_HOST = 253


class WebhookState(StrEnum):
    """How far the telling has come."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Webhook(Model):
    """The telling of a finished task's end.

    `event_id` is the same for every delivery, so that a receiver can drop doubles. `sent_at` is when the notification
    was seen to be in the hands of Pub/Sub, which does not lose it; until then the tracker looks after it.
    """

    event_id: str
    state: WebhookState = WebhookState.PENDING
    attempts: int = Field(default=0, ge=0)
    sent_at: UtcDatetime | None = None
    last_error: str | None = None
    delivered_at: UtcDatetime | None = None

    @property
    def unsent(self) -> bool:
        """Whether the notification may have been lost on its way to Pub/Sub."""
        return self.state is WebhookState.PENDING and self.sent_at is None


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a URL's host, without brackets, spells out; None if it is a name.

    Raises:
        ValueError: the host is neither: `127.1` or `0x7f000001`, which some resolvers take for an address.
    """
    host = host.lower().removesuffix(".")
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a zone")
        return ip_address(host)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return IPv4Address(host)
    if len(host) > _MAX_HOST or not all(_HOST_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("not a host name")
    return None


def _webhook_url(text: str) -> str:
    if not _VISIBLE.fullmatch(text):
        raise ValueError("must have visible ASCII characters only and no backslash: percent-encode the rest")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError("must be an http or https URL") from error
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("must be an http or https URL with a host")
    if "@" in url.netloc:
        raise ValueError("must not hold a user name or password; events are signed instead")
    if port == 0:
        raise ValueError("must not have port 0")
    try:
        literal_address(url.hostname)
    except ValueError as error:
        raise ValueError("must have a DNS name or an address in its usual form as its host") from error
    return text


WebhookUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048),
    AfterValidator(_webhook_url),
    Field(json_schema_extra={"format": "uri", "pattern": "^https?://[!-\\[\\]-~]+$"}),
]
