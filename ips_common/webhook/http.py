"""Webhooks over HTTP: one POST, no redirects, no proxies, and no socket to an address that may not be called."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus

import aiohttp
from yarl import URL

from ips_common.ports.webhook import Courier, Reply
from ips_common.webhook.address import AddressRules
from ips_common.webhook.signature import EVENT_ID_HEADER, HEADER, sign

TIMEOUT = 10.0
"""Seconds one delivery may take in all, from the DNS query to the end of the answer."""

_MAX_ANSWER = 64 * 1024
_UNSIGNED = "IPS_WEBHOOK_SECRETS is not set: events are never sent unsigned"

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class ForbiddenAddress(OSError):
    """A socket was to be connected to an address that webhooks may not call."""


class HttpCourier(Courier):
    """A `Courier` on the network."""

    def __init__(
        self,
        rules: AddressRules,
        secrets: Sequence[str],
        *,
        timeout: float = TIMEOUT,
        resolver: Callable[[], aiohttp.abc.AbstractResolver] = aiohttp.ThreadedResolver,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make a courier.

        Args:
            rules: where webhooks may lead.
            secrets: every event is signed with each of them.
            timeout: for one delivery, in seconds.
            resolver: makes what looks names up.
            tls: whom to trust; by default the system's authorities.
        """
        self._rules = rules
        self._secrets = tuple(secrets)
        self._timeout = timeout
        self._resolver = resolver
        self._tls = tls

    def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
        """See `Courier.deliver`."""
        if not self._secrets:
            return Reply(0, _UNSIGNED)
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "ips",
            "Accept": "*/*",
            EVENT_ID_HEADER: event_id,
            HEADER: sign(body, self._secrets, at),
        }
        # A loop of its own for each call: closing it leaves behind a DNS query that hangs, which a shared one would
        # have to wait for.
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self._post(url, body, headers))
        finally:
            loop.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            return await self._exchange(URL(url, encoded=True), body, headers, deadline)
        except TimeoutError:
            return Reply(0, f"no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(0, _sentence(error))

    async def _exchange(self, url: URL, body: bytes, headers: Mapping[str, str], deadline: float) -> Reply:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver(),
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls or True,
            socket_factory=self._guard(url.raw_host or ""),
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            async with asyncio.timeout_at(deadline):
                answer = await session.post(url, data=body, headers=headers, allow_redirects=False)
            async with answer:
                # The status has decided; the rest is read, within bounds, so that the receiver can finish.
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await _drop(answer.content, _MAX_ANSWER)
                return _reply(answer.status)

    def _guard(self, host: str) -> Callable[[AddrInfo], socket.socket]:
        """Return what makes the sockets: the one place that every address passes, however it was written or found."""
        trusted = self._rules.trusts(host)

        def make(info: AddrInfo) -> socket.socket:
            family, kind, protocol, _, address = info
            if not trusted and not self._rules.allows(str(address[0])):
                raise ForbiddenAddress("not a public address")
            return socket.socket(family, kind, protocol)

        return make


async def _drop(content: aiohttp.StreamReader, most: int) -> None:
    while most > 0 and (piece := await content.read(most)):
        most -= len(piece)


def _reply(status: int) -> Reply:
    if 200 <= status < 300:
        return Reply(status)
    if 300 <= status < 400:
        return Reply(status, f"the receiver answered {status}; redirects are not followed")
    phrase = f" {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else ""
    return Reply(status, f"the receiver answered {status}{phrase}")


def _sentence(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "the receiver's certificate cannot be verified"
        case aiohttp.ClientConnectorSSLError():
            return "no TLS connection to the receiver"
        case aiohttp.ClientConnectorDNSError():
            return "the receiver's name cannot be resolved"
        case aiohttp.ClientConnectorError(os_error=ForbiddenAddress()):
            return "the receiver has a private, local or reserved address"
        case aiohttp.ClientConnectorError():
            return "no connection to the receiver"
        case aiohttp.InvalidURL() | ValueError():
            return "the URL cannot be called"
        case aiohttp.ServerDisconnectedError():
            return "the receiver closed the connection without an answer"
    return "the receiver's answer is no HTTP"
