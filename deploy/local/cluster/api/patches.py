"""Patches: JSON Patch, merge patch, and strategic merge as far as kubectl and the Python client use it."""

from typing import Any

from deploy.local.cluster import errors, limits

MERGE, JSON_PATCH, STRATEGIC = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
)
_APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
# Lists that strategic merge joins by a key; every other list is replaced.
_KEYS = {
    "conditions": "type",
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "env": "name",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "ownerReferences": "uid",
    "taints": "key",
    "addresses": "type",
}


def apply(content_type: str, target: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The patched object.

    Raises:
        ApiError: the patch has a form or an instruction that is not read.
    """
    media = content_type.partition(";")[0].strip()
    if media in _APPLY:
        raise limits.refuse("server-side apply")
    if media == JSON_PATCH:
        return _json_patch(target, patch)
    if media not in {MERGE, STRATEGIC}:
        raise errors.unsupported_media_type()
    if not isinstance(patch, dict):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}"
        )
    merged: dict[str, Any] = _merge(target, patch, strategic=media == STRATEGIC)
    return merged


def _merge(target: Any, patch: Any, *, strategic: bool) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$"):
            if strategic and name.startswith("$setElementOrder/"):
                continue
            raise errors.not_emulated(f"the patch directive {name}", "kubectl does not send it for what is emulated")
        if value is None:
            merged.pop(name, None)
        elif strategic and isinstance(value, list) and name in _KEYS:
            merged[name] = _merge_list(merged.get(name) or [], value, _KEYS[name])
        else:
            merged[name] = _merge(merged.get(name), value, strategic=strategic)
    return merged


def _merge_list(target: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = {item.get(key): item for item in target}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item.get(key), None)
        else:
            merged[item.get(key)] = _merge(merged.get(item.get(key)), item, strategic=True)
    return list(merged.values())


def _json_patch(target: dict[str, Any], patch: Any) -> dict[str, Any]:
    if not isinstance(patch, list):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        )
    patched: Any = target
    for step in patch:
        path = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        try:
            patched = _edit(patched, path, step["op"], step.get("value"))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            message = f"the server rejected our request due to an error in our request: {step['op']} {step['path']}"
            raise errors.ApiError(422, "Invalid", message, {}) from error
    result: dict[str, Any] = patched
    return result


def _edit(target: Any, path: list[str], op: str, value: Any) -> Any:
    """A copy of the target with one operation done, along the path only."""
    step, rest = path[0], path[1:]
    copy = list(target) if isinstance(target, list) else dict(target)
    at: Any = (len(copy) if step == "-" else int(step)) if isinstance(copy, list) else step
    if rest:
        copy[at] = _edit(copy[at], rest, op, value)
    elif op == "test":
        if copy[at] != value:
            raise ValueError(step)
    elif op == "remove":
        del copy[at]
    elif op == "add" and isinstance(copy, list):
        copy.insert(at, value)
    elif op == "add" or (op == "replace" and (isinstance(copy, list) or at in copy)):
        copy[at] = value
    else:
        raise KeyError(op)
    return copy
