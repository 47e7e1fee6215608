"""Field knowledge of the API's objects: what a real server's typed decoding refuses, drops and warns about.

`schema.json` is made from the official client's models (`python -m deploy.local.cluster.schema` writes it anew), so
that starting a cluster does not import them.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from deploy.local.cluster.errors import bad_request
from deploy.local.cluster.kinds import KINDS, Kind

_FILE = Path(__file__).with_name("schema.json")
_GO_NAMES = {"str": "string", "int": "int64", "bool": "bool", "datetime": "string"}
_JSON_NAMES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}

_SCALARS: dict[str, type] = {"str": str, "datetime": str, "int": int, "bool": bool}


@cache
def _types() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = json.loads(_FILE.read_bytes())
    return loaded


def decode(kind: Kind, body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read an object as the typed server would.

    Returns:
        The object without null, empty or unknown fields, and the paths of the unknown ones.

    Raises:
        ApiError: a value has the wrong JSON type.
    """
    unknown: list[str] = []
    return _struct(kind, kind.model, body, "", unknown), unknown


def _struct(kind: Kind, model: str, value: Any, path: str, unknown: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(kind, value, model, path)
    fields = _types().get(model)
    if fields is None:
        return value
    out: dict[str, Any] = {}
    for name, item in value.items():
        declared = fields.get(name)
        if declared in _SCALARS and item.__class__ is _SCALARS[declared]:
            out[name] = item
            continue
        where = f"{path}.{name}" if path else name
        if declared is None:
            unknown.append(where)
        elif item is not None:
            decoded = _value(kind, declared, item, where, unknown)
            # Go leaves empty maps and lists out; an empty struct (emptyDir, securityContext) is a choice and stays.
            if decoded or declared[0] not in "[{":
                out[name] = decoded
    return out


def _value(kind: Kind, declared: str, value: Any, path: str, unknown: list[str]) -> Any:
    if declared in _SCALARS:
        if value.__class__ is not _SCALARS[declared]:
            raise _mismatch(kind, value, declared, path)
        return value
    if declared[0] == "[":
        if not isinstance(value, list):
            raise _mismatch(kind, value, declared, path)
        return [_value(kind, declared[1:], item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    if declared[0] == "{":
        if not isinstance(value, dict):
            raise _mismatch(kind, value, declared, path)
        return {key: _value(kind, declared[1:], item, f"{path}.{key}", unknown) for key, item in value.items()}
    return value if declared == "any" else _struct(kind, declared, value, path, unknown)


def _mismatch(kind: Kind, value: Any, declared: str, path: str) -> Exception:
    found = _JSON_NAMES.get(type(value), "null")
    field = re.sub(r"\[\d+\]", "", path)
    message = (
        f'{kind.kind} in version "v1" cannot be handled as a {kind.kind}: json: cannot unmarshal {found} into Go '
        f"struct field {kind.kind}.{field} of type {_GO_NAMES.get(declared, declared.lstrip('[{'))}"
    )
    return bad_request(message)


def generate() -> dict[str, dict[str, str]]:
    """The field types of every model that the served kinds reach, read from the official client."""
    from kubernetes.client import models  # noqa: PLC0415  (only the generator needs the models, at 0.7 s)

    types: dict[str, dict[str, str]] = {}
    todo = sorted({kind.model for kind in KINDS if kind.model})
    while todo:
        name = todo.pop()
        if name in types:
            continue
        model = getattr(models, name)
        types[name] = {model.attribute_map[k]: _compact(v) for k, v in model.openapi_types.items()}
        todo += {ref for ref in (t.lstrip("[{") for t in types[name].values()) if hasattr(models, ref)}
    types["V1ObjectMeta"]["managedFields"] = "any"
    return types


def _compact(declared: str) -> str:
    if inner := re.fullmatch(r"[Ll]ist\[(.+)\]", declared):
        return "[" + _compact(inner[1])
    if inner := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", declared):
        return "{" + _compact(inner[1])
    return "any" if declared in {"object", "float"} else declared


if __name__ == "__main__":
    _FILE.write_text(json.dumps(generate(), sort_keys=True, separators=(",", ":")).replace("},", "},\n") + "\n")
