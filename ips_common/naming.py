"""Names that follow from what they name, so that creating something twice is harmless."""

import base64
import hashlib
import re
from datetime import UTC, datetime

MAX_NAME = 63
"""Longest name of a Job, in characters: Kubernetes puts it into a label of the pods."""

_HASH_LENGTH = 10  # base32 characters, 50 bits: 5,000 nodes collide once in 10^8 tasks
_MAX_TASK_ID = 32
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


def new_task_id(now: datetime, random_hex: str) -> str:
    """Return a task id that sorts by time and is a DNS label, such as `task-20261124081530-1a2b3c4d`.

    Args:
        now: when the task is created.
        random_hex: hexadecimal digits that tell the tasks of one second apart.
    """
    return f"task-{now.astimezone(UTC):%Y%m%d%H%M%S}-{random_hex}"


def job_name(task_id: str, attempt: int, node_name: str) -> str:
    """Return the name of a node's Job: a DNS label of at most 63 characters, whatever the node's name.

    Node names of one pool differ at the end of their first part (`ip-10-0-3-7.ec2.internal`), so as much of that stays
    readable as there is room for; a hash of the whole keeps names apart.
    """
    digest = hashlib.sha256(f"{task_id}\0{attempt}\0{node_name}".encode()).digest()
    suffix = base64.b32encode(digest).decode().lower()[:_HASH_LENGTH]
    task = _slug(task_id)[:_MAX_TASK_ID].strip("-")
    room = MAX_NAME - len(f"{task}-{attempt}--{suffix}")
    host = _slug(node_name.split(".", maxsplit=1)[0])[-room:].strip("-")
    return "-".join(part for part in (task, str(attempt), host, suffix) if part)


def daemonset_name(task_id: str, attempt: int) -> str:
    """Return the name of an attempt's DaemonSet: a DNS label of at most 63 characters."""
    return job_name(task_id, attempt, "")


def _slug(text: str) -> str:
    return _NOT_ALLOWED.sub("-", text.lower()).strip("-")
