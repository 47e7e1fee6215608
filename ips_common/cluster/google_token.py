"""Tokens of the account this process runs as: from Google's metadata server, or whatever else the library finds."""

import logging
from typing import Any, Protocol

from google.auth.exceptions import GoogleAuthError

from ips_common.errors import ClusterUnavailable

logger = logging.getLogger(__name__)

_SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    # Without this one a cluster knows the caller by a number instead of an address, and RBAC by address finds nobody.
    "https://www.googleapis.com/auth/userinfo.email",
)


class TokenSource(Protocol):
    """Gives OAuth access tokens."""

    def token(self, *, anew: bool) -> str:
        """Return a token that is valid now; `anew` if the last one was not accepted.

        Raises:
            ClusterUnavailable: there is none to be had now.
        """
        ...


class GoogleToken:
    """Application Default Credentials; asked by one thread at a time.

    The library gives up a metadata server that is away after some 15 seconds.
    """

    def __init__(self) -> None:
        self._credentials: Any = None
        self._request: Any = None

    def token(self, *, anew: bool) -> str:
        """See `TokenSource.token`; renewed some minutes before it expires."""
        try:
            if self._credentials is None:
                self._find()
            if anew or not self._credentials.valid:
                self._renew(anew=anew)
        except GoogleAuthError as error:
            raise ClusterUnavailable(f"no token to be had from Google: {_words(error)}") from error
        return str(self._credentials.token)

    def _find(self) -> None:
        import google.auth  # noqa: PLC0415 - only those who have such a cluster pay for it
        from google.auth.transport.requests import Request  # noqa: PLC0415 - same

        self._request = Request()
        self._credentials, _ = google.auth.default(scopes=_SCOPES, request=self._request)

    def _renew(self, *, anew: bool) -> None:
        from google.auth.credentials import TokenState  # noqa: PLC0415 - see above

        try:
            self._credentials.refresh(self._request)
        except GoogleAuthError as error:
            if anew or self._credentials.token_state is TokenState.INVALID:
                raise
            logger.warning("token not renewed yet, the old one is still valid", extra={"error": _words(error)})


def _words(error: Exception) -> str:
    """Say what the library says, without the objects that it wraps around it."""
    first = error.args[0] if error.args else type(error).__name__
    return _words(first) if isinstance(first, Exception) else " ".join(str(first).split())
