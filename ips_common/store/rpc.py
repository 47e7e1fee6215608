"""The edge to Firestore: every call is bounded in time, and every foreign error leaves as one of ours."""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from google.api_core import exceptions as api
from google.auth.exceptions import GoogleAuthError

from ips_common.errors import IPSError, PermanentError, StoreUnavailable
from ips_common.google_call import ONCE, repeat

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import Client, DocumentReference, DocumentSnapshot, Query

T = TypeVar("T")

TIMEOUT = 6.0
"""Seconds one call may take with all its repetitions."""

CONTENTION_TIMEOUT = 8.0
"""Seconds a compare-and-set goes on against other writers."""

_LONGEST_PAUSE = 1.0

_CONFLICTS = (api.AlreadyExists, api.FailedPrecondition, api.NotFound)
_INPUT = (api.InvalidArgument,)


class Rpc:
    """Calls to one Firestore database; `timeout` seconds bound each of them."""

    def __init__(self, client: "Client", timeout: float = TIMEOUT) -> None:
        self.client = client
        self._timeout = timeout

    def call(self, what: str, send: Callable[[float, bool], T], *, timeout: float | None = None) -> T:
        """Send until it succeeds, fails for good or the time is up; `what` names the documents in errors.

        `send` gets the seconds it may take and whether an earlier try may have had its effect already.

        Raises:
            AlreadyExists, FailedPrecondition, NotFound: as Firestore said; the caller knows what they mean.
            StoreUnavailable: Firestore cannot be reached, is overloaded or does not let us in.
            PermanentError: Firestore refuses the content of the call.
        """
        try:
            return repeat(send, timeout=self._timeout if timeout is None else timeout)
        except _CONFLICTS:
            raise
        except (api.GoogleAPICallError, GoogleAuthError) as error:
            raise translated(error, what) from error

    def read(self, what: str, send: Callable[[float], T], *, timeout: float | None = None) -> T:
        """Send something that changes nothing.

        Raises:
            StoreUnavailable: as `call`, or an index or the database is missing.
            PermanentError: Firestore refuses the content of the call.
        """
        try:
            return self.call(what, lambda left, _: send(left), timeout=timeout)
        except _CONFLICTS as error:
            raise translated(error, what) from error

    def get(self, reference: "DocumentReference", *, timeout: float | None = None) -> "DocumentSnapshot[Any]":
        """Read a document, which need not exist."""
        return self.read(str(reference.path), lambda left: reference.get(retry=ONCE, timeout=left), timeout=timeout)

    def get_all(self, references: Sequence["DocumentReference"]) -> list["DocumentSnapshot[Any]"]:
        """Read documents in the order asked; those that do not exist are left out."""
        if not references:
            return []
        found = self.read(
            f"{len(references)} documents from {references[0].path}",
            lambda left: list(self.client.get_all(list(references), retry=ONCE, timeout=left)),
        )
        by_path = {snapshot.reference.path: snapshot for snapshot in found if snapshot.exists}
        return [by_path[reference.path] for reference in references if reference.path in by_path]

    def query(self, what: str, query: "Query") -> list["DocumentSnapshot[Any]"]:
        """Run a query to its end."""
        return self.read(what, lambda left: list(query.stream(retry=ONCE, timeout=left)))

    def count(self, what: str, query: Any) -> int:
        """Count what a query finds, on the server."""
        results = self.read(what, lambda left: query.count().get(retry=ONCE, timeout=left))
        return int(results[0][0].value)


def tries(seconds: float) -> Iterator[int]:
    """Number the tries of a compare-and-set, with a random pause before each but the first, until the time is up."""
    deadline = time.monotonic() + seconds
    for number in itertools.count():
        yield number
        wait = random.uniform(0, min(_LONGEST_PAUSE, 0.01 * 2**number))  # noqa: S311 - jitter, no secret
        if time.monotonic() + wait >= deadline:
            return
        time.sleep(wait)


def translated(error: api.GoogleAPICallError | GoogleAuthError, what: str) -> IPSError:
    """Our error for one of Google's."""
    text = error.message if isinstance(error, api.GoogleAPICallError) else str(error)
    if isinstance(error, _INPUT):
        return PermanentError(f"Firestore refuses {what}: {text}")
    return StoreUnavailable(f"Firestore, {what}: {text}")
