"""Refusals as a Kubernetes API server words them: every one leaves as a `Status` object."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.local.cluster.kinds import Kind


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that validation objects to."""

    field: str
    reason: str
    message: str


class ApiError(Exception):
    """An answer that is no success."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after
        self.warnings: list[str] = []

    def status(self) -> dict[str, Any]:
        """The `Status` object; empty parts are left out as the real server does."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return {**body, "code": self.code}


def _details(kind: Kind, name: str = "", *, as_kind: bool = False) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name} if name else {}
    if kind.group:
        details["group"] = kind.group
    details["kind"] = kind.kind if as_kind else kind.plural
    return details


def not_found(kind: Kind, name: str) -> ApiError:
    """No object of that name."""
    return ApiError(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(kind, name))


def no_such_resource() -> ApiError:
    """A path under a known group that names no resource."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str) -> ApiError:
    """The name is taken."""
    return ApiError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str) -> ApiError:
    """The writer has read an older version."""
    message = (
        f'Operation cannot be fulfilled on {kind.qualified} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    return ApiError(409, "Conflict", message, _details(kind, name))


def precondition_failed(kind: Kind, name: str, field: str, wanted: str, found: str) -> ApiError:
    """A delete was meant for another object of that name."""
    # The server names the kind, not the resource, here.
    said = kind.kind + (f".{kind.group}" if kind.group else "")
    message = (
        f'Operation cannot be fulfilled on {said} "{name}": the {field} in the precondition ({wanted}) does not match '
        f"the {field} in record ({found}). The object might have been deleted and then recreated"
    )
    return ApiError(409, "Conflict", message, _details(kind, name, as_kind=True))


def forbidden(kind: Kind, name: str, why: str) -> ApiError:
    """Refused by authorization or admission; `why` follows "is forbidden: "."""
    said = f'{kind.qualified} "{name}"' if name else kind.qualified
    return ApiError(403, "Forbidden", f"{said} is forbidden: {why}", _details(kind, name))


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> ApiError:
    """Validation failed; equal complaints are named once in the message and each in the causes."""
    said = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    listed = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _details(kind, name, as_kind=True)
    details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    said_kind = kind.kind + (f".{kind.group}" if kind.group else "")
    return ApiError(422, "Invalid", f'{said_kind} "{name}" is invalid: {listed}', details)


def bad_request(message: str) -> ApiError:
    """The request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """The credentials are not (or no longer) known."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def unsupported_media_type() -> ApiError:
    """A body in a form the server does not read."""
    return ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def method_not_allowed() -> ApiError:
    """A verb the resource does not have."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def expired(message: str) -> ApiError:
    """A version that history no longer holds."""
    return ApiError(410, "Expired", message)


def invalid_version(text: str) -> ApiError:
    """A resourceVersion that is no number: the real server answers 500 without a reason."""
    message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
    return ApiError(500, "", message)


def version_too_new(asked: int, current: int) -> ApiError:
    """A version from the future, after waiting for it in vain."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, details, retry_after=1)


def not_emulated(what: str, why: str) -> ApiError:
    """Something a real cluster does and this one deliberately does not: said aloud, never guessed."""
    return ApiError(501, "NotImplemented", f"the simulated cluster does not emulate {what}: {why}")
