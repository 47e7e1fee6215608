"""HTTP: credentials, faults, permission, the answer's form; everything else is behind it."""

import asyncio
import random
import ssl
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import web

from deploy.local.cluster import errors, faults
from deploy.local.cluster.api import discovery, routes
from deploy.local.cluster.api.commands import Commands, Requests
from deploy.local.cluster.api.rendering import choose
from deploy.local.cluster.api.resources import Answer, Call, Resources
from deploy.local.cluster.api.watching import Watches
from deploy.local.cluster.clock import Clock
from deploy.local.cluster.control_plane import ControlPlane
from deploy.local.cluster.credentials import HOST, Credentials
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.faults import Faults
from deploy.local.cluster.rbac import ANONYMOUS, Action, Authorizer, User
from deploy.local.cluster.scenario import Fault, Scenario

_JSON = "application/json"
_SIM = "/sim"
# The real server refuses larger bodies; etcd could not hold them.
_MOST_BODY_BYTES = 3 * 1024 * 1024
_CLOSE_SECONDS = 0.3
# Go's HTTP server keeps idle connections and takes long selectors; aiohttp's defaults would surprise clients.
_AS_GO: dict[str, Any] = {"keepalive_timeout": 3600.0, "max_line_size": 1 << 20, "max_field_size": 1 << 20}
# Nobody waits for the answer any more; as some proxies log it.
_CLIENT_GONE = 499


class ApiServer:
    """The simulated cluster's only door."""

    def __init__(
        self, plane: ControlPlane, credentials: Credentials, scenario: Scenario, clock: Clock, rng: random.Random
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._authorizer = Authorizer(plane.store)
        self._resources = Resources(plane.registry, self._authorizer)
        self._watches = Watches(plane.store, scenario.bookmark_seconds)
        self._faults = Faults(clock, rng)
        self._requests: Requests = Counter()
        self._commands = Commands(plane, self._faults, self._watches, credentials, self._requests)
        self._commands.begin(scenario, clock)
        self._runner: web.ServerRunner | None = None

    async def start(self, port: int, context: ssl.SSLContext) -> int:
        """Serve; returns the port, which is chosen if 0 was asked for."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None, **_AS_GO)
        self._runner = web.ServerRunner(server, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port, ssl_context=context, backlog=1024, shutdown_timeout=_CLOSE_SECONDS)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection."""
        self._watches.cut([])
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target, _, query = request.path_qs.partition("?")
        path = unquote(target)
        who: User = ANONYMOUS
        verb, resource, code = request.method.lower(), path, _CLIENT_GONE
        try:
            who = self._authenticate(request)
            parameters = dict(parse_qsl(query, keep_blank_values=True))
            if path == _SIM or path.startswith(_SIM + "/"):
                code = 200
                return await self._command(request, path, who)
            route = routes.parse(path)
            if route is not None:
                verb = route.verb(request.method, watch=parameters.get("watch") in {"1", "true"})
                resource = route.resource
            struck = self._faults.strike(who.name, verb, resource)
            if struck and (refused := await self._suffer(request, struck)) is not None:
                code = refused.status
                return refused
            response = await self._answer(request, path, verb, route, who, parameters)
            code = response.status
            if any(fault.drop == "after" for fault in struck) and request.transport is not None:
                request.transport.abort()
        except ApiError as error:
            code = error.code
            return _refusal(error)
        else:
            return response
        finally:
            if not path.startswith(_SIM):
                self._requests[who.name, verb, resource, code] += 1

    def _authenticate(self, request: web.BaseRequest) -> User:
        header = request.headers.get("Authorization", "")
        if not header:
            return ANONYMOUS
        who = self._credentials.who(header.removeprefix("Bearer ").strip())
        if who is None:
            raise errors.unauthorized()
        return who

    async def _suffer(self, request: web.BaseRequest, struck: Any) -> web.Response | None:
        """Let faults happen; None where the request goes on all the same."""
        for fault in struck:
            if fault.latency_seconds:
                await asyncio.sleep(fault.latency_seconds)
            if fault.drop == "before":
                return _drop(request, fault)
            if (refusal := faults.answer(fault)) is not None:
                return _refusal(refusal)
        return None

    async def _answer(
        self,
        request: web.BaseRequest,
        path: str,
        verb: str,
        route: routes.Route | None,
        who: User,
        query: dict[str, str],
    ) -> web.StreamResponse:
        if route is None:
            return self._document(path, verb, who)
        kind = route.kind
        self._authorizer.check(who, kind, Action(verb, kind.group, route.resource, route.namespace, route.name))
        form = choose(request.headers.get("Accept", ""), query.get("includeObject", "Metadata"), self._clock.now())
        if form is None:
            message = "only the following media types are accepted: application/json"
            raise ApiError(406, "NotAcceptable", message, {})
        if verb == "watch":
            return await self._watches.serve(request, kind, route.namespace, query, form)
        body = await _read(request)
        return _respond(
            self._resources.answer(verb, route, Call(who, query, request.headers.get("Content-Type", ""), body, form))
        )

    def _document(self, path: str, verb: str, who: User) -> web.Response:
        if path.partition("/")[2].partition("/")[0] not in {"api", "apis", "openapi"} or path.count("/") <= 1:
            self._authorizer.check_path(who, verb, path)
        if path in discovery.HEALTH:
            return web.Response(body=b"ok", headers={"Content-Type": "text/plain; charset=utf-8"})
        document = discovery.answer(path)
        if document is None:
            return web.Response(
                status=404, body=b"404 page not found\n", headers={"Content-Type": "text/plain; charset=utf-8"}
            )
        self._authorizer.check_path(who, verb, path)
        return web.Response(body=orjson.dumps(document), headers={"Content-Type": _JSON})

    async def _command(self, request: web.BaseRequest, path: str, who: User) -> web.Response:
        if not who.is_master:
            self._authorizer.check_path(who, request.method.lower(), path)
        name = path.removeprefix(_SIM).strip("/")
        if request.method == "GET":
            result = self._commands.read(name)
        else:
            body = await _read(request)
            result = self._commands.run(name, orjson.loads(body) if body else {})
        return web.Response(body=orjson.dumps(result), headers={"Content-Type": _JSON})


async def _read(request: web.BaseRequest) -> bytes:
    if not request.can_read_body:
        return b""
    # aiohttp's own limit, by `request.read`, is a third of the real server's and no Status object.
    body = b"" if (request.content_length or 0) > _MOST_BODY_BYTES else await request.content.read()
    if max(len(body), request.content_length or 0) > _MOST_BODY_BYTES:
        message = f"Request entity too large: limit is {_MOST_BODY_BYTES}"
        raise ApiError(413, "RequestEntityTooLarge", message, {})
    return body


def _respond(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers={"Content-Type": _JSON})
    _warn(response, answer.warnings)
    return response


def _refusal(error: ApiError) -> web.Response:
    response = web.Response(status=error.code, body=orjson.dumps(error.status()), headers={"Content-Type": _JSON})
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    _warn(response, error.warnings)
    return response


def _warn(response: web.Response, warnings: list[str]) -> None:
    for warning in warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')


def _drop(request: web.BaseRequest, fault: Fault) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500, reason=fault.name)
