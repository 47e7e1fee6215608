"""`/openapi.json`, made from the same records and models that answer requests."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from functions.api.callers import API_KEY_HEADER
from functions.api.problems import MEDIA_TYPE, ProblemView
from functions.api.query import Query
from functions.api.route import Access, Reply, Route
from ips_common import __version__

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_REQUEST_ID = {
    "X-Request-Id": {
        "description": "Identifies the request in logs, messages and Jobs; the one it came with, if that is sane.",
        "schema": {"type": "string"},
    }
}
_EVERYWHERE = {500: "Something unexpected went wrong; the logs say what, under the request id."}
_TOLD_APART = {
    401: "It is not known who asks: nothing was sent that tells, or it proves nothing.",
    403: "The caller is known, but may not do this.",
}
_WHO = {"WWW-Authenticate": "How to say who asks (RFC 6750)."}
_ISSUER_AWAY = "The keys of the token issuer cannot be fetched now; `Retry-After` says when to try again."
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An ID token, or an API key, whichever the installation asks for (`IPS_AUTH`).",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER, "description": "An API key."},
}
# Which of them is needed, if any, is the installation's to say.
_SECURITY: list[Json] = [{}, *({name: []} for name in _SCHEMES)]
_DESCRIPTION = (
    "Makes chosen container images present on chosen nodes of a Kubernetes cluster before anyone needs them there. "
    "Every answer that is not a success is a problem document (RFC 9457) with a stable `code`."
)


def document(routes: tuple[Route, ...]) -> bytes:
    """Return the OpenAPI 3.1 document of `routes` as JSON."""
    schemas = _Schemas(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        item = paths.setdefault(route.path, {})
        if "{taskId}" in route.path:
            item["parameters"] = [_task_id()]
        item[route.method.lower()] = _operation(route, schemas)
    content = {
        "openapi": "3.1.0",
        "info": {
            "title": "Image Prewarm Service",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas.definitions, "securitySchemes": _SCHEMES},
    }
    return json.dumps(content, indent=1).encode()


def _operation(route: Route, schemas: "_Schemas") -> Json:
    operation: Json = {"operationId": route.name, "summary": route.summary}
    parameters = [*schemas.parameters(route.query), *_headers(route.header_parameters)]
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas.ref(route.body, "validation")}},
        }
    problems = {**route.problems, **_EVERYWHERE}
    if route.access is not Access.OPEN:
        operation["security"] = _SECURITY
        problems |= _TOLD_APART
        problems.setdefault(503, _ISSUER_AWAY)
    operation["responses"] = {
        **{str(status): _reply(reply, schemas) for status, reply in route.replies.items()},
        **{str(status): _problem(status, text, schemas) for status, text in sorted(problems.items())},
    }
    return operation


def _reply(reply: Reply, schemas: "_Schemas") -> Json:
    refs = [schemas.ref(model, "serialization") for model in reply.models]
    schema: Json = refs[0] if len(refs) == 1 else {"anyOf": refs} if refs else {}
    return {
        "description": reply.text,
        "headers": {**_REQUEST_ID, **_reply_headers(reply.headers)},
        "content": {reply.media_type: {"schema": schema}},
    }


def _problem(status: int, text: str, schemas: "_Schemas") -> Json:
    headers = {}
    if status in {429, 503}:
        headers = {"Retry-After": "Seconds to wait before the next try."}
    elif status in _TOLD_APART:
        headers = _WHO
    return {
        "description": text,
        "headers": {**_REQUEST_ID, **_reply_headers(headers)},
        "content": {MEDIA_TYPE: {"schema": schemas.ref(ProblemView, "serialization")}},
    }


def _reply_headers(headers: Mapping[str, str]) -> Json:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}


def _headers(headers: Mapping[str, str]) -> Iterable[Json]:
    for name, text in headers.items():
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        yield {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


def _task_id() -> Json:
    schema = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
    return {"name": "taskId", "in": "path", "required": True, "description": "The task's id.", "schema": schema}


class _Untitled(GenerateJsonSchema):
    """Pydantic's schemas without a title on every field that only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


class _Schemas:
    """The schemas of all models that the routes use."""

    def __init__(self, routes: Iterable[Route]) -> None:
        bodies = {route.body for route in routes if route.body}
        queries = {route.query for route in routes}
        replies = {model for route in routes for reply in route.replies.values() for model in reply.models}
        taken: list[type[BaseModel]] = sorted(bodies | queries, key=lambda model: model.__name__)
        given: list[type[BaseModel]] = sorted(replies | {ProblemView}, key=lambda model: model.__name__)
        inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in taken]
        outputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "serialization") for model in given]
        self._refs, schema = models_json_schema(
            [*inputs, *outputs], by_alias=True, ref_template=_REF, schema_generator=_Untitled
        )
        self.definitions: Json = schema["$defs"]
        _describe_request(self.definitions)
        self._queries = {model: self.definitions.pop(self._name(model)) for model in queries}

    def ref(self, model: type[BaseModel], mode: JsonSchemaMode) -> Json:
        """Return the reference to a model's schema."""
        return dict(self._refs[model, mode])

    def parameters(self, query: type[Query]) -> Iterable[Json]:
        """Return a query model's fields as parameters."""
        for name, schema in self._queries[query].get("properties", {}).items():
            description = {"description": schema["description"]} if "description" in schema else {}
            empty = {} if schema.get("type") == "boolean" else {"allowEmptyValue": True}  # counts as not given
            yield {"name": name, "in": "query", "required": False, **empty, **description, "schema": _plain(schema)}

    def _name(self, model: type[BaseModel]) -> str:
        return str(self._refs[model, "validation"]["$ref"]).rpartition("/")[2]


def _describe_request(definitions: Json) -> None:
    """Let the fields that a task repeats from its request say what they say there."""
    request = definitions["TaskSpec"]["properties"]
    for name, schema in definitions["TaskView"]["properties"].items():
        if name in request and "description" in request[name]:
            schema.setdefault("description", request[name]["description"])


def _plain(schema: Json) -> Json:
    """Return a parameter's schema without null, which a query cannot say."""
    rest = {key: value for key, value in schema.items() if key not in {"description", "anyOf"}}
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if rest.get("default", ...) is None:
        del rest["default"]
    return {**rest, **options[0]} if len(options) == 1 else {**rest, **({"anyOf": options} if options else {})}
