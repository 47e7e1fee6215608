"""From a checked request to a use case and back to an answer."""

import re
from typing import TypeVar

from functions.api import handler
from functions.api.body import JsonObject, fingerprint
from functions.api.deps import Deps
from functions.api.gate import GatePoller, GateState
from functions.api.openapi import document
from functions.api.predictions import predict
from functions.api.problems import Problem, Refusal, invalid, unavailable
from functions.api.query import CreateQuery, GateQuery, NodesQuery, PredictionsQuery, Query, TasksQuery
from functions.api.readiness import Readiness
from functions.api.route import Answer, Call, Route
from functions.api.validation import validate
from ips_common.accept import objections, unknown_cluster
from ips_common.errors import Conflict, FieldError, QueueFull, TaskFinished
from ips_common.metrics import Metrics
from ips_common.models.task import TaskSpec
from ips_common.models.view import View
from ips_common.ports.store import IdempotencyKey

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEY_HEADER = "Idempotency-Key"

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Q = TypeVar("Q", bound=Query)


class HealthView(View):
    """The process answers."""

    status: str
    """Always `ok`."""


class Endpoints:
    """What each route does."""

    def __init__(self, deps: Deps, metrics: Metrics) -> None:
        self._deps = deps
        self._metrics = metrics
        self._readiness = Readiness.of(deps.store, deps.bus, deps.clusters, deps.ready_timeout)
        self._gate = GatePoller(
            deps.store,
            interval=deps.gate_interval,
            max_wait=deps.gate_max_wait,
            max_waiters=deps.gate_max_waiters,
            draining=deps.draining,
        )
        self._document: bytes | None = None
        self.routes: tuple[Route, ...] = ()

    def create(self, call: Call) -> Answer:
        """Create a task, or show what it would do."""
        body = call.body or {}
        spec, errors = validate(TaskSpec, body)
        key, key_errors = _idempotency_key(call, body)
        refused = self._objections(spec) if spec else self._cluster_errors(body, errors)
        errors = (*call.errors, *key_errors, *errors, *refused)
        if spec is None or errors:
            raise Refusal(invalid(errors))
        if _query(call, CreateQuery).dry_run:
            return Answer(handler.dry_run(spec, self._deps))
        try:
            created = handler.create(spec, key=key, caller=call.caller, request_id=call.request_id, deps=self._deps)
        except QueueFull as full:
            raise Refusal(unavailable(full, status=429)) from full
        except Conflict as conflict:
            if key is None:
                raise
            field = FieldError(KEY_HEADER, "was used with another body; use a new key for a new task")
            raise Refusal(Problem(422, "idempotency-key-reused", str(conflict), (field,))) from conflict
        location = {"Location": f"/api/v1/tasks/{created.task.task_id}"}
        return Answer(created.task, 201 if created.new else 200, location)

    def read(self, call: Call) -> Answer:
        """Show a task."""
        return Answer(handler.read(call.task_id, self._deps))

    def list_tasks(self, call: Call) -> Answer:
        """List tasks."""
        query = _query(call, TasksQuery)
        page = handler.list_tasks(
            status=query.status,
            cluster=query.cluster,
            limit=query.limit,
            offset=query.offset,
            page_token=query.page_token,
            deps=self._deps,
        )
        return Answer(page)

    def list_nodes(self, call: Call) -> Answer:
        """List a task's nodes."""
        query = _query(call, NodesQuery)
        page = handler.list_nodes(
            call.task_id, status=query.status, limit=query.limit, page_token=query.page_token, deps=self._deps
        )
        return Answer(page)

    def cancel(self, call: Call) -> Answer:
        """Cancel a task."""
        try:
            return Answer(handler.cancel(call.task_id, self._deps))
        except TaskFinished as finished:
            raise Refusal(Problem(409, finished.code, f"{finished}: it can no longer be cancelled")) from finished

    def gate(self, call: Call) -> Answer:
        """Say whether enough nodes hold every image, and wait for it."""
        query = _query(call, GateQuery)
        gate = self._gate.wait(handler.checked(call.task_id), query.min, query.wait_seconds)
        if gate.state is GateState.SHUT:
            detail = f"{gate.completed_nodes} of {gate.total_nodes} nodes hold every image and too few others still can"
            members = {"gate": gate.model_dump(mode="json", by_alias=True)}
            raise Refusal(Problem(409, "gate-shut", detail, members=members))
        return Answer(gate) if gate.state is GateState.OPEN else Answer(gate, 202, {"Retry-After": "1"})

    def predictions(self, call: Call) -> Answer:
        """Say which images are asked for most."""
        query = _query(call, PredictionsQuery)
        return Answer(predict(self._deps.store, days=query.days, min_count=query.min_count, now=self._deps.now()))

    def openapi(self, call: Call) -> Answer:
        """Describe all routes."""
        del call
        if self._document is None:
            self._document = document(self.routes)
        return Answer(self._document)

    def health(self, call: Call) -> Answer:
        """Answer."""
        del call
        return Answer(HealthView(status="ok"))

    def ready(self, call: Call) -> Answer:
        """Ask all parts."""
        del call
        view = self._readiness.check()
        if view.status != "unavailable":
            return Answer(view)
        failed = ", ".join(name for name, check in view.checks.items() if not check.ok)
        members = view.model_dump(mode="json", by_alias=True, include={"checks"})
        raise Refusal(
            Problem(503, "not-ready", f"no answer from: {failed}", headers={"Retry-After": "5"}, members=members)
        )

    def metrics(self, call: Call) -> Answer:
        """Show the figures."""
        del call
        return Answer(self._metrics.text(), media_type=METRICS_TYPE)

    def _objections(self, spec: TaskSpec) -> tuple[FieldError, ...]:
        return objections(
            spec,
            clusters=self._deps.clusters,
            allowed_images=self._deps.allowed_images,
            check_url=self._deps.webhook_rules.check,
        )

    def _cluster_errors(self, body: JsonObject, errors: tuple[FieldError, ...]) -> tuple[FieldError, ...]:
        name = body.get("cluster", "default")
        if not isinstance(name, str) or any(error.field == "cluster" for error in errors):
            return ()
        return unknown_cluster(name, self._deps.clusters)


def _query(call: Call, model: type[Q]) -> Q:
    if not isinstance(call.query, model):
        raise TypeError(f"the route's query is {type(call.query).__name__}, not {model.__name__}")
    return call.query


def _idempotency_key(call: Call, body: JsonObject) -> tuple[IdempotencyKey | None, tuple[FieldError, ...]]:
    given = call.headers.getlist(KEY_HEADER)
    if not given:
        return None, ()
    key = given[0]
    if len(given) > 1 or not _KEY.fullmatch(key):
        message = "must be given once and have 1 to 255 visible ASCII characters without spaces"
        return None, (FieldError(KEY_HEADER, message),)
    # Callers cannot meet each other's keys.
    owner = call.caller.name
    return IdempotencyKey(f"{owner}\n{key}" if owner else key, fingerprint(body)), ()
