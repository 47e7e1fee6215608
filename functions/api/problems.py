"""Problem documents (RFC 9457): the one form of every answer that is not a success."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import ConfigDict
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from ips_common.errors import (
    ClusterRefused,
    Conflict,
    FieldError,
    InvalidRequest,
    IPSError,
    TaskFinished,
    TaskNotFound,
    TemporaryError,
)
from ips_common.models.view import View

MEDIA_TYPE = "application/problem+json"


class BadField(View):
    """One bad field of a request."""

    field: str
    """The field as the caller spelled it, e.g. `images[2]`; a query parameter or a header by its name."""
    message: str
    """What is wrong with it, for people."""


class ProblemView(View):
    """A problem document; members beyond these depend on the code."""

    model_config = ConfigDict(extra="allow", json_schema_serialization_defaults_required=False)

    type: str
    """Always `about:blank`: `code` tells problems apart."""
    title: str
    """The HTTP status in words."""
    status: int
    """The HTTP status."""
    code: str
    """What went wrong, in a stable spelling to decide by."""
    detail: str
    """What went wrong this time, for people."""
    instance: str
    """The path that was asked for."""
    request_id: str
    """The answer's `X-Request-Id`, to be found in the logs."""
    errors: tuple[BadField, ...] = ()
    """Every bad field, if the input is to blame."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a request or with us; `members` are added to the document."""

    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)

    def document(self, *, instance: str, request_id: str) -> bytes:
        """Return the document as JSON."""
        view = ProblemView(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            errors=tuple(BadField(field=error.field, message=error.message) for error in self.errors),
            **self.members,
        )
        return view.model_dump_json(by_alias=True, exclude=None if self.errors else {"errors"}).encode() + b"\n"


class Refusal(Exception):
    """Ends the handling of a request with a problem; `caller` names whom it is told, if that is known only here."""

    def __init__(self, problem: Problem, *, caller: str | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.caller = caller


def invalid(errors: tuple[FieldError, ...], detail: str = "") -> Problem:
    """The request can be read, but some of its fields are wrong."""
    names = ", ".join(dict.fromkeys(error.field for error in errors))
    return Problem(422, InvalidRequest.code, detail or f"these fields are wrong: {names}", errors)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an exception stands for; one that is not known tells nothing about itself."""
    match error:
        case Refusal():
            return error.problem
        case HTTPException():
            return _of_http(error)
        case InvalidRequest():
            return invalid(error.fields, str(error)) if error.fields else Problem(422, error.code, str(error))
        case TaskNotFound():
            return Problem(404, error.code, str(error))
        case TaskFinished() | Conflict():
            return Problem(409, error.code, str(error))
        case ClusterRefused():
            return Problem(502, error.code, f"the cluster refuses: {error}")
        case TemporaryError():
            return unavailable(error)
        case IPSError():
            return Problem(500, error.code, "the request could not be handled; the logs say why")
    return Problem(500, IPSError.code, "the request could not be handled; the logs say why")


def unavailable(error: TemporaryError, status: int = 503) -> Problem:
    """What is asked for cannot be done now."""
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return Problem(status, error.code, f"{error}; try again later", headers=headers)


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return Problem(405, "method-not-allowed", f"this path takes {allowed}", headers={"Allow": allowed})
    if isinstance(error, RequestEntityTooLarge):
        return Problem(413, "body-too-large", "the body is longer than 1 MiB")
    if status == HTTPStatus.NOT_FOUND:
        return Problem(404, "not-found", "there is nothing at this path; /openapi.json lists all paths")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(500, IPSError.code, "the request could not be handled; the logs say why")
    phrase = HTTPStatus(status).phrase
    return Problem(status, phrase.lower().replace(" ", "-"), phrase)
