"""Which request this is: the id that follows it through logs, messages and Jobs, and its trace."""

import re
from dataclasses import dataclass
from uuid import uuid4

from werkzeug.datastructures import Headers

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/.*)?")
_NO_TRACE = "0" * 32


@dataclass(frozen=True, slots=True)
class Identity:
    """The request's id, and the trace it belongs to if it came with one."""

    request_id: str
    trace: str | None


def identify(headers: Headers) -> Identity:
    """Take the id from the caller if it is sane, else from the trace, else make one."""
    trace = _trace(headers)
    given = headers.get("X-Request-Id", "")
    request_id = given if _SANE.fullmatch(given) else trace or uuid4().hex
    return Identity(request_id, trace)


def _trace(headers: Headers) -> str | None:
    for name, pattern in (("traceparent", _TRACEPARENT), ("X-Cloud-Trace-Context", _CLOUD_TRACE)):
        match = pattern.fullmatch(headers.get(name, "").strip())
        if match and match[1] != _NO_TRACE:
            return match[1].lower()
    return None
