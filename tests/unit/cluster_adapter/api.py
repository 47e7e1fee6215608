"""An API server that says what a test tells it to, and remembers what it was asked."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

JOBS = "/apis/batch/v1/namespaces/ips/jobs"
PODS = "/api/v1/namespaces/ips/pods"
EVENTS = "/api/v1/namespaces/ips/events"
NODES = "/api/v1/nodes"


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """One answer; `lines` makes it a stream that ends after them, or stays open if `hold`; `cut` breaks it off."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[Any] | None = None
    hold: bool = False
    cut: bool = False


def refusal(status: int, reason: str, message: str = "", **headers: str) -> Reply:
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": status}
    return Reply(status, body, headers)


def a_list(*items: Mapping[str, Any], version: str = "1", more: str = "") -> Reply:
    metadata = {"resourceVersion": version} | ({"continue": more} if more else {})
    return Reply(body={"kind": "List", "metadata": metadata, "items": list(items)})


Answers = Reply | Callable[[Request], Reply]


class Api:
    """A scripted API server; answers of one route are used in turn, the last one again and again."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self.busiest = 0
        """Most requests that were being answered at the same time."""
        self.gather = 1
        """Answers wait until so many requests have come."""
        self._tls = tls
        self._answers: dict[tuple[str, str], list[Answers]] = {}
        self.busy = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._changed = threading.Condition()
        self._released = asyncio.Event()
        self._gathered = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._listening: socket.socket

    def on(self, method: str, path: str, *answers: Answers) -> None:
        """Say how a route answers."""
        self._answers[method, path] = list(answers)

    def asked(self, method: str, path: str) -> list[Request]:
        """Return the requests of a route, in order."""
        with self._changed:
            return [each for each in self.requests if (each.method, each.path) == (method, path)]

    def watches(self, path: str) -> list[Request]:
        """Return the watch requests of a path, in order."""
        return self.asked("GET", f"{path}?watch")

    def wait(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until the requests so far meet a condition."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), [f"{each.method} {each.path}" for each in self.requests]

    def release(self) -> None:
        """End all streams that are held open."""
        self._loop.call_soon_threadsafe(self._released.set)

    def down(self) -> None:
        """Stop listening and break all connections."""
        asyncio.run_coroutine_threadsafe(self._down(), self._loop).result(10)

    def up(self) -> None:
        """Listen again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._up(), self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _up(self) -> None:
        self._released = asyncio.Event()
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        self._listening = socket.create_server(("127.0.0.1", self._port))
        await web.SockSite(self._runner, self._listening, ssl_context=self._tls).start()
        self._port = self._listening.getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    async def _down(self) -> None:
        if self._runner:
            self._released.set()
            # Python 3.11 loses a connection that is accepted in the very step in which the server closes.
            self._loop.remove_reader(self._listening)
            await asyncio.sleep(0.01)
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        path = request.path + ("?watch" if request.query.get("watch") else "")
        seen = Request(request.method, path, dict(request.query), dict(request.headers), json.loads(text or "null"))
        with self._changed:
            self.requests.append(seen)
            self._changed.notify_all()
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if self.busiest >= self.gather:
                self._gathered.set()
            await asyncio.wait_for(self._gathered.wait(), 5)
            return await self._answer(request, self._next(seen))
        finally:
            self.busy -= 1
            with self._changed:
                self._changed.notify_all()

    def _next(self, request: Request) -> Reply:
        answers = self._answers.get((request.method, request.path))
        if answers is None:
            return refusal(404, "NotFound", f"no answer was written for {request.method} {request.path}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Reply) else answer(request)

    async def _answer(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.cut and reply.lines is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if reply.lines is None:
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            return web.Response(status=reply.status, body=body, headers=reply.headers, content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        for line in reply.lines:
            await response.write(json.dumps(line).encode() + b"\n")
        if reply.hold:
            await self._released.wait()
        if reply.cut:
            assert request.transport
            request.transport.abort()
        return response


def kubeconfig(
    path: Path,
    url: str,
    user: Mapping[str, Any],
    *,
    authority: Path | None = None,
    cluster: Mapping[str, Any] | None = None,
    context: str = "there",
) -> Path:
    """Write a kubeconfig with one context."""
    trust = {"certificate-authority": str(authority)} if authority else {}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": "c", "cluster": {"server": url, **trust, **(cluster or {})}}],
        "users": [{"name": "u", "user": dict(user)}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
