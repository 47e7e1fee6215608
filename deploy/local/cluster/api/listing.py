"""Lists: selectors, pages that fit together, and the versions a client may ask for."""

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Any

import orjson

from deploy.local.cluster import errors
from deploy.local.cluster.kinds import Kind
from deploy.local.cluster.selectors import Matcher, every, field_matcher, label_matcher, parse_labels
from deploy.local.cluster.store import Item, Key, Store

_TOKEN_VERSION = "meta.k8s.io/v1"
Query = Mapping[str, str]


def matcher(kind: Kind, query: Query) -> Matcher | None:
    """The test that the query's selectors make.

    Raises:
        ApiError: one does not parse.
    """
    labels = label_matcher(parse_labels(query.get("labelSelector", "")))
    return every(labels, field_matcher(kind, query.get("fieldSelector", "")))


def number(text: str) -> int:
    """A resourceVersion.

    Raises:
        ApiError: it is no number.
    """
    if not text.isdigit():
        raise errors.invalid_version(text)
    return int(text)


def page(store: Store, kind: Kind, namespace: str, query: Query) -> tuple[list[Item], dict[str, Any]]:
    """One page of a list, and the list's metadata.

    Raises:
        ApiError: the query does not parse, or asks for a version there is none of (yet, or any more).
    """
    matches = matcher(kind, query)
    limit = int(query["limit"]) if query.get("limit", "").isdigit() else 0
    version, start = store.version, None
    if query.get("continue"):
        version, start = _read_token(query["continue"], namespace)
    elif query.get("resourceVersion", "0") not in {"", "0"}:
        asked = number(query["resourceVersion"])
        if asked > store.version:
            raise errors.version_too_new(asked, store.version)
        version = asked if query.get("resourceVersionMatch") == "Exact" else version
    everything = store.scan_at(kind, version, namespace, start)
    found = iter(everything if matches is None else (item for item in everything if matches(item.obj)))
    items = list(itertools.islice(found, limit)) if limit else list(found)
    meta: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and next(found, None) is not None:
        meta["continue"] = _write_token(version, items[-1].key, namespace)
        if matches is None:
            meta["remainingItemCount"] = 1 + sum(1 for _ in found)
    return items, meta


def _write_token(version: int, last: Key, namespace: str) -> str:
    """The start of the next page as the real server encodes it: the key after the last one."""
    path = f"/{last[1]}" if namespace or not last[0] else f"/{last[0]}/{last[1]}"
    body = orjson.dumps({"v": _TOKEN_VERSION, "rv": version, "start": path + "\0"})
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _read_token(token: str, namespace: str) -> tuple[int, Key]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error as error:
        message = "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"
        raise errors.bad_request(message) from error
    try:
        body = orjson.loads(raw)
        version, path = int(body["rv"]), str(body["start"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        said = f"invalid character '{chr(raw[0]) if raw else ''}' looking for beginning of value"
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {said}") from error
    parts = path.lstrip("/").split("/")
    return version, (namespace, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
