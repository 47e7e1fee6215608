"""From untrusted values to models, and from pydantic's errors to sentences that help a caller."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.datastructures import MultiDict

from ips_common.errors import FieldError

MAX_ERRORS = 100
"""Errors named in one answer."""
MAX_ENTRIES = 1000
"""Entries of a list or object that are looked at one by one: a body of 1 MiB can hold half a million wrong ones."""

M = TypeVar("M", bound=BaseModel)

_KEY = "[key]"  # what pydantic adds to the place of an entry whose key is wrong

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of a sensible size",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must be an object of strings",
    "mapping_type": "must be an object of strings",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "too_short": ("min_length", "must have at least {} entries"),
    "too_long": ("max_length", "must have at most {} entries"),
    "enum": ("expected", "must be {}"),
    "literal_error": ("expected", "must be {}"),
}


def validate(model: type[M], values: Mapping[str, Any]) -> tuple[M | None, tuple[FieldError, ...]]:
    """Return the model, or every field that keeps it from being one; only camelCase names are known."""
    if errors := tuple(_oversized(values)):
        return None, errors
    try:
        return model.model_validate(values, by_alias=True, by_name=False), ()
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, tuple(islice(_field_errors(details, model), MAX_ERRORS))


def validate_query(model: type[M], args: MultiDict[str, str]) -> tuple[M | None, tuple[FieldError, ...]]:
    """Return the query parameters as a model; an empty one counts as not given, unless it is a switch."""
    switches = {field.alias for field in model.model_fields.values() if field.annotation is bool}
    values = {name: value for name, value in args.items() if value or name in switches}
    repeated = tuple(
        FieldError(name[:100], "is given more than once") for name, found in args.lists() if len(found) > 1
    )
    parsed, errors = validate(model, values)
    return (None if repeated else parsed), (*repeated, *errors)[:MAX_ERRORS]


def path(location: Iterable[int | str]) -> str:
    """Spell a place in the input as a caller would: `images[2]`, `nodeSelector["example.com/pool"]`."""
    text = ""
    parts = tuple(location)
    if parts[2:] and parts[-1] == _KEY:
        parts = parts[:-1]
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not text:
            text = part
        elif part.isidentifier():
            text += f".{part}"
        else:
            text += f'["{part}"]'
    return text[:200]


def _oversized(values: Mapping[str, Any]) -> Iterable[FieldError]:
    if len(values) > MAX_ENTRIES:
        yield FieldError("body", f"has more than {MAX_ENTRIES} fields")
        return
    for name, value in values.items():
        if isinstance(value, list | dict) and len(value) > MAX_ENTRIES:
            yield FieldError(path([name]), f"has more than {MAX_ENTRIES} entries")


def _field_errors(details: list[ErrorDetails], model: type[BaseModel]) -> Iterable[FieldError]:
    places = {detail["loc"] for detail in details}
    parents = {place[:length] for place in places for length in range(1, len(place))}
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in parents:
            continue  # entries that are wrong themselves do not count as entries
        yield FieldError(path(detail["loc"]), _sentence(detail, model))


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(str(detail["loc"][-1]), model)
    if kind == "value_error":
        return str(context["error"])
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind in _BOUNDS:
        name, sentence = _BOUNDS[kind]
        value = context[name]
        if value == 1 and kind in {"string_too_short", "too_short"}:
            return "must not be empty"
        return sentence.format(int(value) if isinstance(value, float) and value.is_integer() else value)
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return detail["msg"]


def _unknown(name: str, model: type[BaseModel]) -> str:
    known = [field.alias or own for own, field in model.model_fields.items()]
    by_folded = {alias.lower(): alias for alias in known}
    close = get_close_matches(name[:100].lower().replace("_", ""), by_folded, n=1)
    return f"is not known; did you mean {by_folded[close[0]]}?" if close else "is not known"
