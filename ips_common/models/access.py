"""Who may do what: lists of people, domains and claims, and the issuers that tell of them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

Claims = Mapping[str, Any]


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Role(StrEnum):
    """What a caller may do; a writer may read, too."""

    READER = "reader"
    WRITER = "writer"


def check_entry(entry: str) -> str:
    """Return an entry of a list if it is one: `*`, an email address, `@domain` or `claim=value`.

    Raises:
        ValueError: it is none; the message says what is wrong.
    """
    claim, equals, value = entry.partition("=")
    if equals:
        if not claim or not value:
            raise ValueError(f"{entry!r} is not claim=value")
        if claim in {"email", "email_verified"}:
            raise ValueError(f"{entry!r}: give the address alone, so that only a verified one counts")
    elif entry != "*" and (entry.count("@") != 1 or entry.endswith("@")):
        raise ValueError(f"{entry!r} is none of *, an email address, @domain and claim=value")
    return entry


def is_safe_url(url: str) -> bool:
    """Whether an issuer's keys may be fetched from here: over HTTPS, or from this very machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


class Roles:
    """Turns what is known of a caller into a role."""

    def __init__(self, writers: Iterable[str], readers: Iterable[str]) -> None:
        self._writers = tuple(writers)
        self._readers = tuple(readers)

    def of(self, claims: Claims, email: str | None) -> Role | None:
        """Return the caller's role; None if it has none.

        Args:
            claims: what the issuer says of the caller.
            email: the caller's address, if it is verified.
        """
        if any(_matches(entry, claims, email) for entry in self._writers):
            return Role.WRITER
        if any(_matches(entry, claims, email) for entry in self._readers):
            return Role.READER
        return None


def _matches(entry: str, claims: Claims, email: str | None) -> bool:
    if entry == "*":
        return True
    claim, equals, value = entry.partition("=")
    if equals:
        found = claims.get(claim)
        return found == value or (isinstance(found, list) and value in found)
    if email is None:
        return False
    address, wanted = email.lower(), entry.lower()
    return address.endswith(wanted) if wanted.startswith("@") else address == wanted
