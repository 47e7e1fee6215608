"""What everybody asks of a pod."""

from typing import Any

Pod = dict[str, Any]
ENDED = frozenset({"Succeeded", "Failed"})


def has_ended(pod: Pod) -> bool:
    """Whether nothing of it will run any more."""
    return pod["status"].get("phase") in ENDED


def is_ready(pod: Pod) -> bool:
    """Whether its Ready condition is true."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or ())
