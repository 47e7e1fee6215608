"""An issuer's signing keys, fetched over HTTPS and kept for a while.

Keys change without notice, so an unknown key id makes them be fetched again; but not more often than every few seconds,
or tokens with made-up ids would have us flood the issuer. While the issuer is away, the keys known so far stay good.
"""

import asyncio
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp

from ips_common.auth.jwk import PublicKey, SigningKey, parse_keys
from ips_common.errors import IssuerUnavailable
from ips_common.models.access import is_safe_url

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds for fetching keys, discovery included."""
FRESH = 600.0
"""Seconds after which known keys are fetched again."""
STALE = 24 * 3600.0
"""Seconds for which known keys stay good while the issuer cannot be reached."""
PAUSE = 10.0
"""Seconds between two fetches at least."""

_TURNS = 10  # of the loop, more than closing a connection takes
_MAX_DOCUMENT = 1024 * 1024
_DISCOVERY = "/.well-known/openid-configuration"


class Issuer:
    """The signing keys of one issuer (see `SigningKeys`); any thread may ask."""

    def __init__(
        self,
        name: str,
        keys_url: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an issuer; nothing is contacted before keys are asked for.

        Args:
            name: its `iss`, a URL under which OpenID Connect Discovery finds the rest.
            keys_url: its JWK Set, if that is known without discovery.
            tls: whom to trust; by default the system's authorities.
            timeout: for fetching the keys, in seconds.
            clock: seconds that only grow.
        """
        self._name = name
        self._keys_url = keys_url
        self._tls = tls
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Sequence[SigningKey] = ()
        self._fetched_at: float | None = None
        self._tried_at: float | None = None

    def find(self, key_id: str | None) -> Sequence[PublicKey]:
        """See `SigningKeys.find`."""
        found = self._known(key_id)
        if found and self._age(self._fetched_at) < FRESH:
            return found
        if found and not self._lock.acquire(blocking=False):
            return found  # somebody else is fetching; what is known is still good
        if not found:
            self._lock.acquire()
        try:
            if self._age(self._tried_at) >= PAUSE:
                self._fetch()
        finally:
            self._lock.release()
        if self._age(self._fetched_at) >= STALE:
            raise IssuerUnavailable("the token issuer's keys cannot be fetched")
        return self._known(key_id)

    def _known(self, key_id: str | None) -> Sequence[PublicKey]:
        return tuple(each.key for each in self._keys if key_id in {None, each.key_id})

    def _age(self, since: float | None) -> float:
        return float("inf") if since is None else self._clock() - since

    def _fetch(self) -> None:
        self._tried_at = self._clock()
        # A loop of its own: a DNS query that hangs is left behind with it.
        loop = asyncio.new_event_loop()
        try:
            self._keys = loop.run_until_complete(asyncio.wait_for(self._download(), self._timeout))
            self._fetched_at = self._clock()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            logger.warning(
                "keys of the token issuer cannot be fetched",
                extra={"issuer": self._name, "error": str(error) or type(error).__name__},
            )
        finally:
            loop.close()

    async def _download(self) -> Sequence[SigningKey]:
        made: list[socket.socket] = []

        def make(info: aiohttp.AddrInfoType) -> socket.socket:
            made.append(socket.socket(*info[:3]))
            return made[-1]

        connector = aiohttp.TCPConnector(ssl=self._tls or True, force_close=True, socket_factory=make)
        try:
            async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
                url = self._keys_url or await self._discover(session)
                return parse_keys(await _get(session, url))
        finally:
            await _hang_up(made)

    async def _discover(self, session: aiohttp.ClientSession) -> str:
        document = await _get(session, self._name.rstrip("/") + _DISCOVERY)
        if not isinstance(document, dict) or document.get("issuer") != self._name:
            raise ValueError("the discovery document is of another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not is_safe_url(url):
            raise ValueError("the discovery document names no https jwks_uri")
        return url


async def _hang_up(sockets: Sequence[socket.socket]) -> None:
    """Cut what is still open: a TLS connection to an issuer that hangs would wait for its farewell."""
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for _ in range(_TURNS):
        if all(each.fileno() < 0 for each in sockets):
            return
        await asyncio.sleep(0)


async def _get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError(f"{url} answered {answer.status}")
        content = bytearray()
        async for piece in answer.content.iter_chunked(65536):
            content += piece
            if len(content) > _MAX_DOCUMENT:
                raise ValueError(f"{url} answered more than {_MAX_DOCUMENT} bytes")
    return json.loads(content)
