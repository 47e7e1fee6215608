"""Which request this is: the id that follows it through logs, messages and Jobs, and its trace."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

from werkzeug import Request
from werkzeug.datastructures import Headers

from ips_common.logs import trace_of

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Identity:
    """The request's id, and the log fields of the trace it belongs to, if it came with one."""

    request_id: str
    trace: Mapping[str, Any]


def identify(headers: Headers) -> Identity:
    """Take the id from the caller if it is sane, else from the trace, else make one."""
    trace = trace_of(headers)
    given = headers.get("X-Request-Id", "")
    request_id = given if _SANE.fullmatch(given) else trace.get("trace") or uuid4().hex
    return Identity(request_id, trace)


def remote_ip(request: Request) -> str | None:
    """The address of whoever sent the request, or of the last proxy that cannot be seen through.

    Behind a front end the peer is its address, which is private, and the front end added the caller's to a header that
    callers may have begun themselves: only what it added at the end is to be believed.
    """
    peer = request.remote_addr
    with suppress(ValueError):
        if peer and not ip_address(peer).is_global and (told := request.headers.get("X-Forwarded-For", "")):
            return str(ip_address(told.rpartition(",")[2].strip()))
    return peer
