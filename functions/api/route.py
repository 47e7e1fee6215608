"""One route, described once: what dispatches requests and what `/openapi.json` says are made from the same records."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel
from werkzeug.datastructures import Headers

from functions.api.callers import Caller
from functions.api.query import NoQuery, Query
from ips_common.errors import FieldError

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """A request after everything that HTTP adds was checked.

    `query` is the parsed model of the route. A route that takes a body gets the JSON object not yet validated, and in
    `errors` what is wrong with the query, so that it can name everything at once.
    """

    caller: Caller
    request_id: str
    headers: Headers
    query: Query
    body: dict[str, Any] | None = None
    errors: tuple[FieldError, ...] = ()
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back: a model, or bytes as they are."""

    body: BaseModel | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON


class Access(Enum):
    """Who may call a route."""

    OPEN = "open"  # probes and scrapers: no caller is told apart
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Reply:
    """A documented answer: what it means, the models it may be (none: just any text), its headers."""

    text: str
    models: tuple[type[BaseModel], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path and method, who handles it, and all that a caller has to know.

    `path` is the template callers see (`/api/v1/tasks/{taskId}`). `problems` maps statuses to what they mean here,
    beyond those that every route has.
    """

    method: str
    path: str
    name: str
    summary: str
    handle: Callable[[Call], Answer]
    access: Access = Access.READ
    query: type[Query] = NoQuery
    strict_query: bool = True
    body: type[BaseModel] | None = None
    header_parameters: Mapping[str, str] = field(default_factory=dict)
    replies: Mapping[int, Reply]
    problems: Mapping[int, str] = field(default_factory=dict)
