"""Which images past tasks ask for most: what is worth prewarming before anyone asks."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from pydantic import Field

from ips_common.models.base import UtcDatetime
from ips_common.models.task import Task
from ips_common.models.view import View
from ips_common.ports.store import Store

MAX_TASKS = 2000
"""Tasks looked at, newest first: each is a read that Firestore bills."""
MAX_IMAGES = 100

_PAGE = 100


class PredictedImage(View):
    """An image that past tasks asked for."""

    image: str
    """The image as it was asked for."""
    count: int
    """Tasks that asked for it."""
    last_requested_at: UtcDatetime
    """When it was asked for last."""
    clusters: tuple[str, ...]
    """Clusters it was asked for."""


class PredictionsView(View):
    """Images in the order of how often they were asked for."""

    days: int
    """Days that were looked at."""
    min_count: int
    """Tasks that must have asked for an image."""
    tasks: int
    """Tasks that were looked at."""
    truncated: bool
    """Whether there were more tasks than are looked at."""
    images: tuple[PredictedImage, ...] = Field(max_length=MAX_IMAGES)
    """The images, most asked for first."""


def predict(store: Store, *, days: int, min_count: int, now: datetime) -> PredictionsView:
    """Count the images of the last `days` days and return those that at least `min_count` tasks asked for."""
    since = now - timedelta(days=days)
    counts: Counter[str] = Counter()
    last: dict[str, datetime] = {}
    clusters: dict[str, set[str]] = {}
    looked_at = 0
    truncated = False
    for task in _newest_first(store):
        if task.created_at < since:
            break
        if looked_at == MAX_TASKS:
            truncated = True
            break
        looked_at += 1
        for image in task.spec.images:
            counts[image] += 1
            last.setdefault(image, task.created_at)
            clusters.setdefault(image, set()).add(task.spec.cluster)
    wanted = sorted(
        (image for image in counts if counts[image] >= min_count), key=lambda image: (-counts[image], image)
    )
    images = tuple(
        PredictedImage(
            image=image,
            count=counts[image],
            last_requested_at=last[image],
            clusters=tuple(sorted(clusters[image])),
        )
        for image in wanted[:MAX_IMAGES]
    )
    return PredictionsView(days=days, min_count=min_count, tasks=looked_at, truncated=truncated, images=images)


def _newest_first(store: Store) -> Iterator[Task]:
    token: str | None = None
    while True:
        page = store.list_tasks(limit=_PAGE, page_token=token)
        yield from page.tasks
        token = page.next_page_token
        if token is None:
            return
