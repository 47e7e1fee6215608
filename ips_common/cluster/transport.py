"""Requests to one API server: a pool of connections, one retry loop, one edge where errors are translated.

Everything here runs on the background loop.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import aiohttp

from ips_common.cluster.credentials import Access, Credentials
from ips_common.cluster.inquiry import Inquiry
from ips_common.cluster.status import Answer, Call, failure, unavailable, unreachable
from ips_common.errors import ClusterUnavailable

T = TypeVar("T")

_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
# Seconds, but the last: milliseconds for which what was sent may stay unconfirmed, while keep-alive says nothing.
_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 20_000))


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient requests are, in seconds.

    Args:
        attempt: for one answer; longer than the 60 s after which an API server gives up by itself makes no sense.
        create: for one answer to something small that is to be created.
        connect: for one connection.
        away: after which a server that gives no answer counts as away, however much time is left.
        credentials: for a program or file that gives credentials.
        fresh: how long an access is used before its source is asked whether it is still good.
        first_delay: before the second attempt; doubles each time, up to `longest_delay`.
        longest_delay: between attempts, unless the server asks for more.
    """

    attempt: float = 60
    create: float = 20
    connect: float = 5
    away: float = 10
    credentials: float = 20
    fresh: float = 30
    first_delay: float = 0.1
    longest_delay: float = 5

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """Return how long to wait after failed attempt number `attempt`; jitter keeps clients from coming together."""
        doubled = min(self.longest_delay, self.first_delay * 2.0 ** min(attempt, 20))
        jittered = doubled * random.uniform(0.5, 1)  # noqa: S311 - nothing secret about it
        return max(jittered, retry_after or 0)


class _NoTimeLeft(ClusterUnavailable):
    """The source of credentials was not heard in time; what went wrong before says more."""


class Transport:
    """Talks to one API server."""

    def __init__(self, cluster: str, credentials: Credentials, *, connections: int, pace: Pace | None = None) -> None:
        self.cluster = cluster
        self.pace = pace or Pace()
        self._credentials = credentials
        self._inquiry = Inquiry(cluster, credentials)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._access: Access | None = None
        self._fresh_until = 0.0
        self._loading = asyncio.Lock()

    async def send(
        self,
        call: Call,
        deadline: float,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        discard: bool = False,
        patience: float | None = None,
    ) -> Answer:
        """Send a request until it is answered for good, and return that answer, good or bad.

        Every request IPS makes may be repeated: names are deterministic.

        Args:
            call: what to do.
            deadline: the loop's time by which to give up.
            params: the query.
            body: JSON.
            discard: whether to throw a good answer's body away as it comes.
            patience: seconds after which a failure is final, though a slow answer may still take until `deadline`.

        Raises:
            ClusterUnavailable: no final answer came in time.
        """

        async def once(access: Access, seconds: float) -> Answer:
            async with asyncio.timeout(seconds if body is None else min(seconds, self.pace.create)):
                response = await self._begin(call, access, params, body, None)
                async with response:
                    if discard and response.status < 300:
                        async for _ in response.content.iter_any():
                            pass
                        return Answer(response.status, b"")
                    return await _read(response)

        return await self._insist(call, deadline, once, patience)

    async def ask(
        self, call: Call, deadline: float, *, params: Mapping[str, str] | None = None, patience: float | None = None
    ) -> Answer:
        """Send a request and return a good answer.

        Raises:
            ClusterUnavailable: no final answer came in time.
            ClusterRefused: the server said no.
        """
        answer = await self.send(call, deadline, params=params, patience=patience)
        if not answer.ok:
            raise failure(self.cluster, call, answer)
        return answer

    @asynccontextmanager
    async def stream(
        self, call: Call, deadline: float, *, params: Mapping[str, str], silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a request whose answer is read as it comes.

        Args:
            call: what to do.
            deadline: the loop's time by which the answer must have begun.
            params: the query.
            silence: seconds without a byte after which the connection counts as lost.

        Raises:
            ClusterUnavailable: the answer did not begin in time; one that breaks off later just ends.
            ClusterRefused: the server said no.
        """

        async def once(access: Access, seconds: float) -> Answer | aiohttp.ClientResponse:
            async with asyncio.timeout(seconds):
                response = await self._begin(call, access, params, None, silence)
                if response.status == 200:
                    return response
                async with response:
                    return await _read(response)

        opened = await self._insist(call, deadline, once)
        if isinstance(opened, Answer):
            raise failure(self.cluster, call, opened)
        try:
            yield _chunks(opened)
        finally:
            opened.close()

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session:
            await session.close()

    async def _insist(
        self,
        call: Call,
        deadline: float,
        once: Callable[[Access, float], Awaitable[T]],
        patience: float | None = None,
    ) -> T:
        """Try until there is an answer that would not change, obeying Retry-After."""
        loop = asyncio.get_running_loop()
        no_retry_from = deadline if patience is None else min(deadline, loop.time() + patience)
        away_from = loop.time() + self.pace.away
        refused: Access | None = None
        problem: ClusterUnavailable | None = None
        for attempt in count():
            left = deadline - loop.time()
            try:
                access = await self._reach(left, refused)
            except _NoTimeLeft as error:
                raise (problem or error) from error.__cause__
            retry_after = None
            try:
                result = await once(access, min(left, self.pace.attempt))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._doubt(access)
                if problem is None or not isinstance(error, TimeoutError):
                    # A last attempt that the deadline cuts off says less than the one before it.
                    problem = unreachable(self.cluster, call, error)
                    problem.__cause__ = error
            else:
                if not isinstance(result, Answer) or not result.passing:
                    return result
                away_from = loop.time() + self.pace.away
                problem = unavailable(self.cluster, call, result)
                retry_after = result.retry_after
                if result.unauthenticated:
                    if refused:
                        raise problem
                    refused = access
                    continue
            delay = self.pace.delay(attempt, retry_after)
            if loop.time() + delay >= no_retry_from or loop.time() >= away_from:
                raise problem
            await asyncio.sleep(delay)
        raise AssertionError  # pragma: no cover - count() has no end

    async def _begin(
        self, call: Call, access: Access, params: Mapping[str, str] | None, body: bytes | None, silence: float | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=60, socket_factory=_keepalive_socket
                ),
                headers=_JSON,
            )
        return await self._session.request(
            call.method,
            access.url + call.path,
            params=params,
            data=body,
            headers=access.headers,
            ssl=access.tls,
            server_hostname=access.server_name,
            proxy=access.proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.pace.connect, sock_read=silence),
        )

    async def _reach(self, seconds: float, refused: Access | None = None) -> Access:
        """Return access that is valid now, and is not the one the server has just refused.

        Only one request asks the source; the others wait for it.

        Raises:
            ClusterUnavailable: there is none within `seconds`.
        """
        if self._usable(refused) and self._access:
            return self._access
        seconds = min(seconds, self.pace.credentials)
        try:
            async with asyncio.timeout(seconds), self._loading:
                if not self._usable(refused) or self._access is None:
                    anew = refused is not None
                    self._access = await self._inquiry.access(anew=anew)
                    self._fresh_until = asyncio.get_running_loop().time() + self.pace.fresh
                return self._access
        except TimeoutError as error:
            raise _NoTimeLeft(f"cluster {self.cluster}: no credentials within {seconds:.1f} s") from error

    def _doubt(self, access: Access) -> None:
        """Have the next request ask the source, which may know of another address by now."""
        if access is self._access:
            self._credentials.unreachable()
            self._fresh_until = 0.0

    def _usable(self, refused: Access | None) -> bool:
        return (
            self._access is not None
            and self._access is not refused
            and asyncio.get_running_loop().time() < self._fresh_until
        )


async def _read(response: aiohttp.ClientResponse) -> Answer:
    retry_after = response.headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdigit() else None
    return Answer(response.status, await response.read(), seconds)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError):
        return


def _keepalive_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Make a socket that notices within half a minute when the other side is gone: watches may be silent for long."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        if hasattr(socket, option):  # not on every system a developer may have
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
