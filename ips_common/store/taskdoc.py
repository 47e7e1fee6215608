"""A task as a document: its fields by their JSON names, and what queries need beside them.

`openIn` names the cluster whose tracker has to look after the task; `queueKey` sorts the tasks that wait for a slot;
`expireAt` is when Firestore may remove a finished task. Each is null where it does not apply.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ips_common.models.task import Task
from ips_common.store.commit import Document
from ips_common.store.lifecycle import is_open, queue_key, waits_for_slot

_NAMES = frozenset(field.alias or name for name, field in Task.model_fields.items())
_DIGESTS = "imageDigests"


def encode_task(task: Task, retention: timedelta) -> Document:
    """The document of a task."""
    document: Document = task.model_dump(by_alias=True, warnings="error")
    expires = task.finished_at + retention if task.status.final and task.finished_at else None
    return {name: _plain(value) for name, value in document.items()} | {
        # A list, because a map's keys may not be empty, and an unknown digest is.
        _DIGESTS: [
            {"image": image, "digest": digest, "nodes": nodes}
            for image, counts in task.image_digests.items()
            for digest, nodes in counts.items()
        ],
        "openIn": task.spec.cluster if is_open(task) else None,
        "queueKey": queue_key(task) if waits_for_slot(task) else None,
        "expireAt": expires,
    }


def decode_task(document: Mapping[str, Any]) -> Task:
    """The task of a document; fields of another version of IPS are left alone."""
    fields = {name: plain_times(value) for name, value in document.items() if name in _NAMES}
    digests: dict[str, dict[str, int]] = {}
    for line in fields.pop(_DIGESTS, ()):
        digests.setdefault(line["image"], {})[line["digest"]] = line["nodes"]
    return Task.model_validate(fields | {_DIGESTS: digests})


def _plain(value: Any) -> Any:
    """Lists for tuples and text for enumerations: what reading the document will return, so that both compare."""
    match value:
        case str():
            return str(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def plain_times(value: Any) -> Any:
    """The value with ordinary datetimes for the client's own kind."""
    match value:
        case datetime():
            return plain_time(value)
        case dict():
            return {key: plain_times(item) for key, item in value.items()}
        case list():
            return [plain_times(item) for item in value]
        case _:
            return value


def plain_time(value: datetime) -> datetime:
    """An ordinary datetime in UTC for the client's own kind, which counts nanoseconds."""
    return datetime(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, tzinfo=UTC
    )
