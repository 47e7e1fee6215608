"""The Flask application: all that HTTP adds to a use case, the same way for every route."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from io import BytesIO
from time import perf_counter

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from functions.api.audit import Attempt
from functions.api.body import read_object
from functions.api.callers import Caller, forbidden
from functions.api.compression import compress
from functions.api.deps import Deps
from functions.api.endpoints import Endpoints
from functions.api.identity import identify, remote_ip
from functions.api.patience import within
from functions.api.problems import MEDIA_TYPE, Problem, Refusal, invalid, problem_of
from functions.api.route import Access, Answer, Call, Route
from functions.api.table import table
from functions.api.validation import validate_query
from ips_common.logs import bind
from ips_common.metrics import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
_MAX_DROPPED = 32 * 1024 * 1024  # bytes; Cloud Run takes no longer requests
_DROP_SECONDS = 2.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOBODY = Caller(name=None, may_write=False)


def create_app(deps: Deps) -> Flask:
    """Build the application around its dependencies."""
    app = Flask("api", static_folder=None)
    # A path is what it says: no redirects to what it might have meant.
    app.url_map.merge_slashes = False
    metrics = Metrics(lambda: deps.store.figures(deps.clusters.names()), max_age=deps.figures_max_age)
    endpoints = Endpoints(deps, metrics)
    endpoints.routes = table(endpoints)
    for route in endpoints.routes:
        rule = route.path.replace("{taskId}", "<task_id>")
        app.add_url_rule(rule, f"{route.method} {route.path}", _view(route, deps), methods=[route.method])

    @app.before_request
    def begin() -> None:
        g.began = perf_counter()
        g.identity = identify(request.headers)
        g.attempt = None
        g.logging = ExitStack()
        g.logging.enter_context(bind(requestId=g.identity.request_id, **g.identity.trace))

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        if not isinstance(error, Refusal | HTTPException):
            _log_failure(error)
        problem = problem_of(error)
        if g.attempt:
            g.attempt.code = problem.code
            if isinstance(error, Refusal) and error.caller:
                g.attempt.caller = error.caller
        return _problem(problem)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[REQUEST_ID] = g.identity.request_id
        compress(request, response)
        _drop_input()
        seconds = perf_counter() - g.began
        rule = request.url_rule.rule.replace("<task_id>", "{taskId}") if request.url_rule else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        metrics.observe_request(method=method, path=rule, status=response.status_code, seconds=seconds)
        if g.attempt:
            g.attempt.log(response.status_code)
        _log_request(response.status_code, seconds)
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        del error
        g.logging.close()

    return app


def _view(route: Route, deps: Deps) -> Callable[..., Response]:
    def view(task_id: str = "") -> Response:
        g.attempt = attempt = Attempt(route, task_id[:63])
        caller = _NOBODY if route.access is Access.OPEN else deps.authenticate(request)
        attempt.caller = caller.name
        if route.access is Access.WRITE and not caller.may_write:
            raise forbidden("read-only", "this caller may read, but not change anything", caller.name)
        query, errors = validate_query(route.query, request.args) if route.strict_query else (route.query(), ())
        if errors and route.body is None:
            raise Refusal(invalid(errors))
        call = Call(
            caller=caller,
            request_id=g.identity.request_id,
            headers=request.headers,
            query=query or route.query(),
            body=read_object(request) if route.body else None,
            errors=errors,
            task_id=task_id,
        )
        answer = route.handle(call)
        attempt.result = answer.body
        return _response(answer)

    return view


def _response(answer: Answer) -> Response:
    body = answer.body
    content = body if isinstance(body, bytes) else body.model_dump_json(by_alias=True).encode() + b"\n"
    response = Response(content, answer.status, content_type=answer.media_type)
    response.headers.extend(answer.headers)
    return response


def _problem(problem: Problem) -> Response:
    body = problem.document(instance=request.path, request_id=g.identity.request_id)
    response = Response(body, problem.status, content_type=MEDIA_TYPE)
    response.headers.extend(problem.headers)
    return response


def _drop_input() -> None:
    # Clients that send everything before they read would not see an answer that comes earlier. What was not read is
    # thrown away in small pieces here, because functions-framework would read it into memory, however much it is.
    unread, left = request.environ["wsgi.input"], _MAX_DROPPED
    # Of a caller that is gone, or sends what is no body, the server has errors of its own.
    with suppress(Exception), within(_DROP_SECONDS, request.environ):
        while left > 0 and (piece := unread.read(min(left, 65536))):
            left -= len(piece)
    request.environ["wsgi.input"] = BytesIO()
    request.environ["CONTENT_LENGTH"] = "0"


def _log_failure(error: Exception) -> None:
    problem = problem_of(error)
    if problem.status == 500:
        logger.error("request failed unexpectedly", exc_info=error)
    elif problem.status > 500:
        logger.warning("request could not be served", extra={"code": problem.code, "error": str(error)})


def _log_request(status: int, seconds: float) -> None:
    level = logging.DEBUG if request.path in {"/health", "/healthz", "/ready", "/readyz", "/metrics"} else logging.INFO
    logger.log(
        level,
        "request answered",
        extra={
            "httpRequest": {
                "requestMethod": request.method,
                "requestUrl": request.path,
                "status": status,
                "userAgent": request.user_agent.string,
                "remoteIp": remote_ip(request),
                "latency": f"{seconds:.6f}s",
            }
        },
    )
