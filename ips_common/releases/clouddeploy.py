"""Releases from the API of Cloud Deploy.

https://cloud.google.com/deploy/docs/api/reference/rest/v1/projects.locations.deliveryPipelines.releases/get
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.auth.exceptions import GoogleAuthError

from ips_common.errors import ReleaseNotFound, ReleasesUnavailable
from ips_common.ports.releases import Releases

TIMEOUT = 10.0
"""Seconds one lookup may take; a token that has to be fetched first comes on top."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_NEEDED = "the account needs clouddeploy.releases.get (in roles/clouddeploy.viewer)"


class CloudDeployReleases(Releases):
    """A `Releases` that asks Google's API, as the account this process runs as."""

    def __init__(self, api: str, *, credentials: Callable[[], Any] | None = None, timeout: float = TIMEOUT) -> None:
        """Reach the API; nothing is contacted before the first lookup.

        Args:
            api: the API's base URL; tokens are sent there and nowhere else.
            credentials: gives credentials of google-auth; by default Application Default Credentials.
            timeout: for one lookup, in seconds.
        """
        self._api = api.rstrip("/")
        self._credentials = credentials or _default_credentials
        self._timeout = timeout
        self._lock = threading.Lock()
        self._session: Any = None

    def images(self, name: str) -> Sequence[str]:
        """See `Releases.images`."""
        status, body = self._get(f"{self._api}/v1/{name}")
        if status == 404:
            raise ReleaseNotFound(f"{name} does not exist")
        if status != 200:
            raise ReleasesUnavailable(f"{name}: {_words(status, body)}", retry_after=30 if status == 403 else 5)
        artifacts = body.get("buildArtifacts", [])
        tags = [artifact.get("tag") for artifact in artifacts if isinstance(artifact, Mapping)]
        return [tag for tag in tags if isinstance(tag, str) and tag]

    def _get(self, url: str) -> tuple[int, Mapping[str, Any]]:
        from requests.exceptions import RequestException  # noqa: PLC0415 - only who deploys so pays for it

        try:
            # One at a time: a session is not made for several threads, and releases are rare.
            with self._lock:
                answer = self._connected().get(
                    url,
                    headers={"Accept": "application/json"},
                    timeout=self._timeout,
                    max_allowed_time=self._timeout,
                    allow_redirects=False,
                )
            return int(answer.status_code), _object(answer.content)
        except (RequestException, GoogleAuthError) as error:
            raise ReleasesUnavailable(f"Cloud Deploy cannot be reached: {error}") from error

    def _connected(self) -> Any:
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - see above

        connect: Callable[..., Any] = AuthorizedSession
        self._session = self._session or connect(self._credentials())
        return self._session


def _default_credentials() -> Any:
    import google.auth  # noqa: PLC0415 - see above

    return google.auth.default(scopes=_SCOPES)[0]


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, Mapping) else {}


def _words(status: int, body: Mapping[str, Any]) -> str:
    error = body.get("error")
    told = str(error.get("message") or "") if isinstance(error, Mapping) else ""
    words = f"Cloud Deploy answers {status}" + (f": {told[:300]}" if told else "")
    return f"{words}; {_NEEDED}" if status == 403 else words
