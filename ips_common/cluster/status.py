"""What an API server's answer means for IPS: the one place where Kubernetes errors become ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ips_common.errors import ClusterRefused, ClusterUnavailable

RETRIED = frozenset({429, 500, 502, 503, 504})
"""Statuses that pass: throttled, overloaded, restarting. Everything else would be said again."""

_MAX_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the words of RBAC; `path` is below the server's address."""

    verb: str
    resource: str
    path: str
    name: str = ""

    @property
    def method(self) -> str:
        """The HTTP method of the verb."""
        return {"create": "POST", "delete": "DELETE", "deletecollection": "DELETE"}.get(self.verb, "GET")

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" {self.name}" if self.name else "")


class Expired(ClusterUnavailable):
    """A resource version or continue token is too old: begin again with a list."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came; `retry_after` in seconds, None if the server named no time."""

    status: int
    body: bytes
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the server did it."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Parse the body."""
        return orjson.loads(self.body)

    def words(self) -> tuple[str, str]:
        """Return reason and message of a `Status`, or what there is of a body that is none: proxies answer too."""
        try:
            status = self.json()
        except orjson.JSONDecodeError:
            status = None
        if isinstance(status, Mapping):
            return str(status.get("reason") or ""), str(status.get("message") or "")[:_MAX_WORDS]
        return "", self.body[:200].decode(errors="replace").strip()

    @property
    def unauthenticated(self) -> bool:
        """Whether the credentials, not the rights, are the trouble; without any the server sees `system:anonymous`."""
        return self.status == 401 or (self.status == 403 and b'\\"system:anonymous\\"' in self.body)

    @property
    def passing(self) -> bool:
        """Whether another attempt may get another answer.

        Credentials that are not accepted count: they expire, and are renewed. Rights that are missing do not.
        """
        return self.status in RETRIED or self.unauthenticated


def failure(cluster: str, call: Call, answer: Answer) -> ClusterUnavailable | ClusterRefused:
    """Return the error an answer stands for."""
    if answer.passing:
        return unavailable(cluster, call, answer)
    reason, words = answer.words()
    message = f"cluster {cluster}: {call}: {answer.status} {reason}: {words}"
    if answer.status == 410:
        return Expired(message, retry_after=0)
    return ClusterRefused(message, status=answer.status, reason=reason)


def unavailable(cluster: str, call: Call, answer: Answer) -> ClusterUnavailable:
    """Return the error for an answer that passes."""
    reason, words = answer.words()
    message = f"cluster {cluster}: {call}: {answer.status} {reason}: {words}"
    return ClusterUnavailable(message, retry_after=answer.retry_after or 5.0)


def unreachable(cluster: str, call: Call, error: BaseException) -> ClusterUnavailable:
    """Return the error for a request that got no answer."""
    words = str(error) or "no answer in time"
    return ClusterUnavailable(f"cluster {cluster}: {call}: {words}")
