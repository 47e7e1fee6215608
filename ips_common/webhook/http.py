"""Webhooks over HTTP: one POST, no redirects, no proxies, and no socket to an address that may not be called."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from io import BytesIO

import aiohttp
from yarl import URL

from ips_common import __version__
from ips_common.ports.webhook import Courier, Reply
from ips_common.webhook.address import AddressRules
from ips_common.webhook.signature import EVENT_ID_HEADER, HEADER, sign

TIMEOUT = 10.0
"""Seconds one delivery may take in all, from the DNS query to the end of the answer."""

_MAX_ANSWER = 64 * 1024
_TURNS = 20  # of the loop, more than it takes to notice that a connection is gone
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
            "User-Agent": f"ips/{__version__}",
            "Accept": "*/*",
            EVENT_ID_HEADER: event_id,
            HEADER: sign(body, self._secrets, at),
        }
        # A loop of its own for each call: closing it leaves behind a DNS query that hangs, which a shared one would
        # have to wait for.
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(self._post(url, body, headers))
        except TimeoutError:
            return Reply(0, f"no answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(0, _sentence(error))
        finally:
            loop.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        target = URL(url, encoded=True)
        sockets = _Sockets(self._rules, target.raw_host or "")
        try:
            return await self._exchange(target, body, headers, sockets)
        finally:
            await sockets.hang_up()

    async def _exchange(self, url: URL, body: bytes, headers: Mapping[str, str], sockets: "_Sockets") -> Reply:
        deadline = asyncio.get_running_loop().time() + self._timeout
        connector = aiohttp.TCPConnector(
            resolver=self._resolver(),
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls or True,
            socket_factory=sockets.make,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            async with asyncio.timeout_at(deadline):
                answer = await session.post(url, data=BytesIO(body), headers=headers, allow_redirects=False)
            async with answer:
                # The status has decided; the rest is read, within bounds, so that the receiver can finish.
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await _drop(answer.content, _MAX_ANSWER)
                return _reply(answer.status)


class _Sockets:
    """Makes the sockets of one call: the one place that every address passes, however it was written or found."""

    def __init__(self, rules: AddressRules, host: str) -> None:
        self._rules = rules
        self._trusted = rules.trusts(host)
        self._made: list[socket.socket] = []

    def make(self, info: AddrInfo) -> socket.socket:
        """Return a socket that may be connected to the address of `info`.

        Raises:
            ForbiddenAddress: none may.
        """
        family, kind, protocol, _, address = info
        if not self._trusted and not self._rules.allows(str(address[0])):
            raise ForbiddenAddress("not a public address")
        made = socket.socket(family, kind, protocol)
        self._made.append(made)
        return made

    async def hang_up(self) -> None:
        """Cut what is still open: a receiver that does not read would keep its connection, to be sent the rest."""
        for made in self._made:
            with suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):
            if all(made.fileno() < 0 for made in self._made):
                return
            await asyncio.sleep(0)


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
