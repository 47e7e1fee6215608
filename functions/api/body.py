"""Reading a JSON body strictly: what two parsers could understand differently is refused."""

import hashlib
import json
import math
from collections import Counter
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from functions.api.patience import within
from functions.api.problems import Problem, Refusal

MAX_BODY = 1024 * 1024
"""Longest body, in bytes."""
BODY_SECONDS = 20.0
"""How long a body may take to arrive."""

_BROKEN = Problem(400, "broken-body", "the body ended early or is not framed as HTTP demands")

JsonObject = dict[str, Any]


def read_object(request: Request) -> JsonObject:
    """Read the request's JSON object.

    Raises:
        Refusal: 400, 413 or 415, saying what is wrong.
        RequestEntityTooLarge: the body is longer than `MAX_BODY`.
    """
    _check_headers(request)
    if (request.content_length or 0) > MAX_BODY:
        raise RequestEntityTooLarge
    # A body without a length is cut at the limit in silence, so the limit is one byte more than may be.
    request.max_content_length = MAX_BODY + 1
    try:
        with within(BODY_SECONDS, request.environ):
            raw = request.get_data(cache=False)
    except Exception as error:
        # Every server has errors of its own for chunks that are none.
        raise Refusal(_BROKEN) from error
    if len(raw) > MAX_BODY:
        raise RequestEntityTooLarge
    if len(raw) < (request.content_length or 0):
        raise Refusal(_BROKEN)
    return parse_object(raw)


def parse_object(raw: bytes) -> JsonObject:
    """Parse bytes that must hold one JSON object (RFC 8259), with no name twice and nothing beyond Unicode.

    Raises:
        Refusal: 400, saying where the JSON is wrong.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
        fingerprint(value)
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise _malformed("a string holds half a surrogate pair") from error
    except RecursionError as error:
        raise _malformed("it is nested too deeply") from error
    except ValueError as error:
        raise _malformed(str(error) if isinstance(error, _NotJsonError) else "a number is too long") from error
    if not isinstance(value, dict):
        raise Refusal(Problem(400, "malformed-json", "the body must be a JSON object"))
    return value


def fingerprint(value: Any) -> str:
    """Return a hash that is the same for JSON values that mean the same, however they are written."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class _NotJsonError(ValueError):
    """Python's parser takes it, JSON does not."""


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _NotJsonError(f"the name {twice[:100]!r} is there twice")
    return value


def _no_constant(name: str) -> None:
    raise _NotJsonError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotJsonError("a number is too large")
    return number


def _malformed(detail: str) -> Refusal:
    return Refusal(Problem(400, "malformed-json", f"the body is not valid JSON: {detail}"))


def _check_headers(request: Request) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Refusal(
            Problem(
                415,
                "unsupported-content-encoding",
                "send the body uncompressed",
                headers={"Accept-Encoding": "identity"},
            )
        )
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
        raise Refusal(
            Problem(
                415,
                "unsupported-media-type",
                "send the body as Content-Type: application/json, in UTF-8",
                headers={"Accept": "application/json"},
            )
        )
