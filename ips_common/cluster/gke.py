"""GKE clusters by resource name: Google's API says where they are, Google's tokens let us in.

https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters
"""

import base64
import binascii
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from google.auth.exceptions import TransportError

from ips_common.cluster.credentials import Access
from ips_common.cluster.google_token import GoogleToken, TokenSource
from ips_common.config import GkeEndpoint
from ips_common.errors import ClusterUnavailable

logger = logging.getLogger(__name__)

FRESH = 600.0
"""Seconds after which a cluster is looked up again."""
PAUSE = 10.0
"""Seconds between two lookups at least, while a cluster cannot be reached."""
TIMEOUT = 10.0
"""Seconds for a connection to Google's API, and for each part of its answer."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a cluster's API server is; `authority` is PEM, None if a public one vouches for it."""

    host: str
    authority: str | None


class _NotFound(ClusterUnavailable):
    """The API knows no such cluster."""


def server_of(cluster: Mapping[str, Any], choice: GkeEndpoint) -> Server:
    """Choose an endpoint of a cluster as the API describes it.

    Raises:
        ClusterUnavailable: it has none of this kind that is open to us.
    """
    endpoints = cluster.get("controlPlaneEndpointsConfig") or {}
    dns, ip = endpoints.get("dnsEndpointConfig") or {}, endpoints.get("ipEndpointsConfig") or {}
    if choice in {"auto", "dns"} and dns.get("endpoint") and dns.get("allowExternalTraffic"):
        return Server(dns["endpoint"], None)
    if choice == "dns":
        raise ClusterUnavailable("its DNS endpoint is not open to external traffic (gcloud: --enable-dns-access)")
    if ip.get("enabled") is False:
        if choice == "auto":
            raise ClusterUnavailable(
                "its IP endpoints are off and its DNS endpoint is not open to external traffic (--enable-dns-access)"
            )
        raise ClusterUnavailable("its IP endpoints are off")
    if choice == "private":
        private = cluster.get("privateClusterConfig") or {}
        host = ip.get("privateEndpoint") or private.get("privateEndpoint")
    else:
        host = cluster.get("endpoint")
    authority = (cluster.get("masterAuth") or {}).get("clusterCaCertificate")
    if not host or not authority:
        raise ClusterUnavailable(
            f"it has no {'private ' if choice == 'private' else ''}endpoint, its status is {cluster.get('status')}"
        )
    return Server(host, _pem(authority))


def _pem(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ClusterUnavailable("its certificate authority cannot be read") from error


class GkeCredentials:
    """Access to the cluster `projects/P/locations/L/clusters/C`; asked by one thread at a time.

    Where the cluster is stays known for some minutes, and longer while the API cannot say: a cluster does not stop
    working because the API that describes it does. It is looked up again when it cannot be reached or does not know the
    token, for it may have been made anew at another address.
    """

    def __init__(
        self,
        resource: str,
        *,
        api: str,
        endpoint: GkeEndpoint = "auto",
        tokens: TokenSource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make credentials; nothing is contacted before the first access.

        Args:
            resource: the cluster's name in the API.
            api: the API's base URL.
            endpoint: which of the cluster's endpoints to use; `auto` is the DNS endpoint where it is open.
            tokens: where tokens come from; by default Application Default Credentials.
            clock: seconds that only grow.
        """
        self._resource = resource
        self._url = f"{api.rstrip('/')}/v1/{resource}"
        self._endpoint = endpoint
        self._tokens = tokens or GoogleToken()
        self._clock = clock
        self._request: Any = None
        self._doubtful = False
        self._server: Server | None = None
        self._tls: ssl.SSLContext | bool = True
        self._looked_up_at = 0.0
        self._failed = False

    def unreachable(self) -> None:
        """Have the cluster looked up again before the next access."""
        self._doubtful = True

    def access(self, *, anew: bool) -> Access:
        """See `Credentials.access`."""
        doubtful, self._doubtful = self._doubtful or anew, False
        try:
            if anew:
                self._tokens.token(anew=True)
            server = self._find(doubtful=doubtful)
            token = self._tokens.token(anew=False)
        except ClusterUnavailable as error:
            raise type(error)(f"{self._resource}: {error}", retry_after=error.retry_after) from error
        return Access(f"https://{server.host}", {"Authorization": f"Bearer {token}"}, self._tls)

    def _find(self, *, doubtful: bool) -> Server:
        known, now = self._server, self._clock()
        if known and now < self._looked_up_at + (PAUSE if doubtful or self._failed else FRESH):
            return known
        self._looked_up_at, self._failed = now, True
        try:
            found = server_of(self._look_up(), self._endpoint)
            if found != known:
                self._tls = _trusting(found.authority)
        except _NotFound:
            self._server = None
            raise
        except ClusterUnavailable as error:
            if known is None:
                raise
            logger.warning("cluster not looked up again", extra={"error": f"{self._resource}: {error}"})
            return known
        if found != known:
            logger.info("cluster found", extra={"resource": self._resource, "host": found.host})
        self._server, self._failed = found, False
        return found

    def _look_up(self) -> Mapping[str, Any]:
        status, body = self._ask(self._tokens.token(anew=False))
        if status == 401:
            status, body = self._ask(self._tokens.token(anew=True))
        if status == 200 and body:
            return body
        raise _failure(status, body)

    def _ask(self, token: str) -> tuple[int, Mapping[str, Any]]:
        from google.auth.transport.requests import Request  # noqa: PLC0415 - only those who have such a cluster pay

        self._request = self._request or Request()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            answer = self._request(self._url, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        except TransportError as error:
            raise ClusterUnavailable(f"Google's API cannot be reached: {error}") from error
        return answer.status, _object(answer.data)


def _trusting(authority: str | None) -> ssl.SSLContext | bool:
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cadata=authority)
    except ssl.SSLError as error:
        raise ClusterUnavailable("its certificate authority cannot be read") from error


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, Mapping) else {}


def _failure(status: int, body: Mapping[str, Any]) -> ClusterUnavailable:
    """Return the error that an answer stands for, with what to do about it.

    All of them count as passing: nothing is wrong with the task, rights take minutes to arrive, and a cluster that is
    made anew does not exist for a while.
    """
    error = body.get("error")
    words = str(error.get("message") or "") if isinstance(error, Mapping) else ""
    told = f"Google's API answers {status}" + (f": {words}" if words else "")
    if status == 404:
        return _NotFound(f"there is no such cluster; {told}", retry_after=30)
    if status == 403 and "SERVICE_DISABLED" in str(error):
        return ClusterUnavailable(f"the Kubernetes Engine API is off in this project; {told}", retry_after=30)
    if status == 403:
        return ClusterUnavailable(
            f"the account needs container.clusters.get (in roles/container.clusterViewer); {told}", retry_after=30
        )
    return ClusterUnavailable(told)
