"""Google's metadata server and its GKE API, as far as finding a cluster needs them, on this machine."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.unit.cluster_adapter.api import Answers, Api, Reply, Request

RESOURCE = "projects/acme/locations/europe-west1/clusters/prod"
ACCOUNT = "ips@acme.iam.gserviceaccount.com"

_ACCOUNTS = "/computeMetadata/v1/instance/service-accounts"
_FLAVOR = {"Metadata-Flavor": "Google"}


def described(
    *,
    ip: str | None = "203.0.113.7",
    authority: bytes | None = b"PEM",
    dns: str | None = None,
    external: bool = False,
    private: str | None = None,
    ip_enabled: bool = True,
    status: str = "RUNNING",
) -> dict[str, Any]:
    """A cluster as the API describes it, cut down to what tells where it is; the API leaves out what is false."""
    dns_config = ({"endpoint": dns} if dns else {}) | ({"allowExternalTraffic": True} if external else {})
    ip_config = {"enabled": ip_enabled} | ({"privateEndpoint": private} if private else {})
    cluster: dict[str, Any] = {
        "name": "prod",
        "location": "europe-west1",
        "status": status,
        "masterAuth": {"clusterCaCertificate": base64.b64encode(authority).decode()} if authority else {},
        "controlPlaneEndpointsConfig": {"dnsEndpointConfig": dns_config, "ipEndpointsConfig": ip_config},
    }
    return cluster | ({"endpoint": ip} if ip else {})


def error(status: int, state: str, message: str, reason: str | None = None) -> Reply:
    """An error as Google's APIs say it."""
    body: dict[str, Any] = {"code": status, "message": message, "status": state}
    if reason:
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]
    return Reply(status, {"error": body})


class Google:
    """Both servers; `token` is what the metadata server gives out, `lifetime` for how many seconds."""

    def __init__(self, metadata: Api, api: Api) -> None:
        self.metadata = metadata
        self.api = api
        self.token = "token-1"
        self.lifetime = 3599
        metadata.on("GET", "/", Reply(200, {}, _FLAVOR))
        for name in ("default", ACCOUNT):
            metadata.on("GET", f"{_ACCOUNTS}/{name}/", Reply(200, {"email": ACCOUNT, "scopes": []}, _FLAVOR))
        metadata.on("GET", f"{_ACCOUNTS}/default/token", self._give)

    def knows(self, resource: str, *answers: Answers | Mapping[str, Any]) -> None:
        """Say how the API answers for a cluster: with its description, or otherwise."""
        replies = [Reply(body=answer) if isinstance(answer, Mapping) else answer for answer in answers]
        self.api.on("GET", f"/v1/{resource}", *replies)

    def lookups(self, resource: str = RESOURCE) -> list[Request]:
        """Return the API's requests for a cluster."""
        return self.api.asked("GET", f"/v1/{resource}")

    def tokens(self) -> list[Request]:
        """Return the requests for tokens."""
        return self.metadata.asked("GET", f"{_ACCOUNTS}/default/token")

    def environment(self, folder: Path) -> dict[str, str]:
        """What sends a process here that takes itself to run on Google Cloud; `folder` holds no credentials."""
        host = self.metadata.url.removeprefix("http://")
        return {
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "CLOUDSDK_CONFIG": str(folder),
            "IPS_GKE_API_URL": self.api.url,
        }

    def _give(self, request: Request) -> Reply:
        if ("metadata-flavor", "Google") not in {(name.lower(), value) for name, value in request.headers.items()}:
            return Reply(403)
        body = {"access_token": self.token, "expires_in": self.lifetime, "token_type": "Bearer"}
        return Reply(200, body, _FLAVOR)


@contextmanager
def google() -> Iterator[Google]:
    """Run both."""
    with ExitStack() as running:
        yield Google(running.enter_context(Api()), running.enter_context(Api()))
