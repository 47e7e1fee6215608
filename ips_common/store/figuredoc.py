"""The figures as documents: counters that finished tasks add to, spread over a few so that none is hot.

Each document keeps the counts of the images it has met most, up to a bound, so that it cannot grow without end.
"""

import zlib
from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any

from google.cloud.firestore_v1 import DELETE_FIELD, Increment

from ips_common.store.commit import Document
from ips_common.store.ledger import Ledger, top_images

DOCUMENTS = 8
_IMAGES = 150
"""Images one document tells apart; more than are shown, so that a newcomer has time to grow."""


def figure_id(task_id: str) -> str:
    """The document that counts the task."""
    return f"tasks-{zlib.crc32(task_id.encode()) % DOCUMENTS}"


def figure_ids() -> list[str]:
    """All documents."""
    return [f"tasks-{number}" for number in range(DOCUMENTS)]


def encode_increments(entry: Ledger, current: Mapping[str, Any]) -> Document:
    """What merges an entry into the document that now holds `current`."""
    known = Counter(current.get("images", {}))
    excess = len(known.keys() | entry.images.keys()) - _IMAGES
    fallen: list[str] = []
    if excess > 0:
        others = Counter({image: count for image, count in known.items() if image not in entry.images})
        fallen = [image for image, _ in list(top_images(others, len(others)))[-excess:]]
    return _without_empty(
        {
            "tasks": _increments(entry.tasks),
            "seconds": {status: Increment(seconds) for status, seconds in entry.seconds.items()},
            "durations": {
                status: {_bucket_name(bound): Increment(count) for bound, count in buckets.items()}
                for status, buckets in entry.durations.items()
            },
            "nodes": _increments(entry.nodes),
            "failures": _increments(entry.failures),
            "images": _increments(entry.images) | dict.fromkeys(fallen, DELETE_FIELD),
            "webhooks": _increments(entry.webhooks),
        }
    )


def decode_figures(document: Mapping[str, Any]) -> Ledger:
    """The ledger of a document."""
    return Ledger(
        tasks=Counter(document.get("tasks", {})),
        durations={
            status: Counter({float(bound): count for bound, count in buckets.items()})
            for status, buckets in document.get("durations", {}).items()
        },
        seconds={status: float(seconds) for status, seconds in document.get("seconds", {}).items()},
        nodes=Counter(document.get("nodes", {})),
        failures=Counter(document.get("failures", {})),
        images=Counter(document.get("images", {})),
        webhooks=Counter(document.get("webhooks", {})),
    )


def _increments(counts: Mapping[str, int]) -> Document:
    return {name: Increment(count) for name, count in counts.items()}


def _bucket_name(bound: float) -> str:
    return "inf" if bound == inf else f"{bound:g}"


def _without_empty(document: Document) -> Document:
    return {name: value for name, value in document.items() if value}
