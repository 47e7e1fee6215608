"""Requests to the cluster exactly as they were recorded: one connection each, nothing added."""

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploy.local.cluster.running import RunningCluster

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """A client of every recorded user."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._address = urlsplit(cluster.url)
        self._tls = ssl.create_default_context(cafile=str(cluster.authority))
        tokens = {"admin": cluster.token("admin"), "ips": cluster.token("ips"), "bad": "wrong"}
        self._headers = {user: {"Authorization": f"Bearer {token}"} for user, token in tokens.items()}

    def send(self, method: str, path: str, *, user: str = "admin", body: Any = None, content_type: str = "") -> Reply:
        """Send one request and read the whole answer; the lines of a stream are read until the server ends it."""
        headers = dict(self._headers.get(user, {}))
        if body is not None:
            headers["Content-Type"] = content_type or "application/json"
        sent = None if body is None else json.dumps(body).encode()
        with self._connection() as connection:
            connection.request(method, path, body=sent, headers=headers)
            response = connection.getresponse()
            content = response.read()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, _parse(content))

    def create(self, path: str, body: Any) -> Any:
        """Create something that the recording does not show.

        Raises:
            AssertionError: it was refused.
        """
        reply = self.send("POST", path, body=body)
        assert reply.status == 201, reply.body
        return reply.body

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPSConnection]:
        host, port = self._address.hostname or "", self._address.port
        connection = http.client.HTTPSConnection(host, port, context=self._tls, timeout=_TIMEOUT_SECONDS)
        try:
            yield connection
        finally:
            connection.close()


def _parse(content: bytes) -> Any:
    """JSON, lines of JSON, or text."""
    try:
        return json.loads(content)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return content.decode()
