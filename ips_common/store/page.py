"""Page tokens: opaque to callers, base64url JSON inside."""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from ips_common.errors import FieldError, InvalidRequest
from ips_common.models.results import NodeState, NodeStatus, Shard
from ips_common.ports.store import NodePage

_FIELD = "pageToken"
_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")


class NodePlace(NamedTuple):
    """Where a node stands in its task; places compare as the nodes are listed."""

    attempt: int
    shard: int
    position: int


def is_task_id(text: str) -> bool:
    """Whether a task can have this id: what callers send may be no document name at all."""
    return _TASK_ID.fullmatch(text) is not None


def task_token(created_at: datetime, task_id: str) -> str:
    """A token for the tasks after this one."""
    return _encode([created_at.astimezone(UTC).isoformat(), task_id])


def parse_task_token(token: str) -> tuple[datetime, str]:
    """The creation time and id of the last task of the page before.

    Raises:
        InvalidRequest: the token is none of ours.
    """
    match _decode(token):
        case [str(created_at), str(task_id)] if is_task_id(task_id):
            try:
                return datetime.fromisoformat(created_at).astimezone(UTC), task_id
            except (ValueError, OverflowError) as error:
                raise _invalid() from error
    raise _invalid()


def node_start(token: str | None) -> NodePlace:
    """Where the page of nodes that the token (None: the first page) stands for begins.

    Raises:
        InvalidRequest: the token is none of ours.
    """
    if token is None:
        return NodePlace(0, 0, 0)
    match _decode(token):
        case [int(), int(), int()] as numbers:
            attempt, shard, position = (int(number) for number in numbers)
            if 0 <= attempt < 10 and 0 <= shard < 10**5 and position >= 0:
                return NodePlace(attempt, shard, position)
    raise _invalid()


def list_nodes(shards: Iterable[Shard], status: str | None, limit: int, start: NodePlace) -> NodePage:
    """List the nodes from `start` on, out of all shards in order; takes no more shards than the page needs."""
    found: list[tuple[int, NodeState]] = []
    for shard in shards:
        for position, node in enumerate(shard.nodes):
            place = NodePlace(shard.attempt, shard.index, position)
            if place < start or not _lists(node, status):
                continue
            if len(found) == limit:
                return NodePage(tuple(found), _encode([*place]))
            found.append((shard.attempt, node))
    return NodePage(tuple(found), None)


def _lists(node: NodeState, status: str | None) -> bool:
    if node.superseded:
        return False
    return status is None or status == (node.result.status if node.result else NodeStatus.PENDING)


def _encode(parts: list[str] | list[int]) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(token: str) -> object:
    try:
        return json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _invalid() from error


def _invalid() -> InvalidRequest:
    message = "is not a page token of this list: use nextPageToken of the page before, unchanged"
    return InvalidRequest(f"{_FIELD} {message}", [FieldError(_FIELD, message)])
