"""Accepting a task: store it, then start it if its turn has come.

Shared by the function that callers ask and the one that release events ask.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ips_common import launch
from ips_common.errors import ClusterUnavailable, FieldError, QueueFull, TemporaryError
from ips_common.models.image_rule import AllowedImages
from ips_common.models.task import Task, TaskSpec
from ips_common.naming import new_task_id
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import IdempotencyKey, Store, StoredTask

logger = logging.getLogger(__name__)


class Launch(Protocol):
    """Starts a stored task if its turn has come (see `ips_common.launch`)."""

    def __call__(
        self, stored: StoredTask, /, *, store: Store, bus: Bus, clusters: Clusters, now: datetime
    ) -> StoredTask:
        """Return the task as it stands afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """The task, and whether it is new or the first one of the same idempotency key."""

    task: Task
    new: bool


def accept(
    spec: TaskSpec,
    key: IdempotencyKey | None,
    *,
    created_by: str | None,
    request_id: str | None,
    store: Store,
    bus: Bus,
    clusters: Clusters,
    max_pending_tasks: int,
    clock: Callable[[], datetime],
    random_hex: Callable[[], str],
    start: Launch = launch.launch,
) -> Accepted:
    """Store a task and start it if its turn has come.

    Args:
        spec: what is asked for.
        key: stands for the task, so that asking again makes no other.
        created_by: who asks, as far as that is known.
        request_id: follows the task through logs, messages and Jobs.
        store: where the task is kept.
        bus: takes the task's first messages.
        clusters: where it is to run.
        max_pending_tasks: with as many waiting in its cluster, none is accepted.
        clock: the time.
        random_hex: hexadecimal digits that tell the tasks of one second apart.
        start: starts the stored task.

    Raises:
        QueueFull: too many tasks wait already.
        Conflict: the idempotency key was used with another body.
        TemporaryError: the task could not be stored.
    """
    now = clock()
    waiting = store.queued(spec.cluster)
    if waiting >= max_pending_tasks:
        # Whoever repeats a request is owed its answer, however many wait.
        if key and (first := store.keyed(key, now)):
            return Accepted(first, new=False)
        raise QueueFull(spec.cluster, waiting)
    task, new = store.create_task(
        Task(
            task_id=new_task_id(now, random_hex()),
            spec=spec,
            created_at=now,
            created_by=created_by,
            request_id=request_id,
        ),
        key,
    )
    if not new:
        return Accepted(task, new=False)
    # From here on the task is accepted: whatever goes wrong, the tracker starts it later, and a caller who was told
    # otherwise would send it again.
    try:
        stored = store.task(task.task_id)
        task = start(stored, store=store, bus=bus, clusters=clusters, now=clock()).task
    except TemporaryError as error:
        fields = {"taskId": task.task_id, "requestId": request_id, "error": str(error)}
        logger.warning("task accepted but not started, the tracker will", extra=fields)
    except Exception:
        fields = {"taskId": task.task_id, "requestId": request_id}
        logger.exception("task accepted but not started, the tracker will", extra=fields)
    return Accepted(task, new=True)


def objections(
    spec: TaskSpec, *, clusters: Clusters, allowed_images: AllowedImages, check_url: Callable[[str], None]
) -> tuple[FieldError, ...]:
    """Name what keeps a well-formed task from being accepted here, by the fields that ask for it.

    Args:
        spec: what is asked for.
        clusters: those that are configured.
        allowed_images: what may be pulled.
        check_url: raises `ValueError` for a webhook that must not be called.
    """
    found = list(allowed_images.errors(spec.images))
    if spec.webhook_url is not None:
        try:
            check_url(spec.webhook_url)
        except ValueError as error:
            found.append(FieldError("webhookUrl", str(error)))
    found.extend(unknown_cluster(spec.cluster, clusters))
    if not found:
        # What follows asks the cluster, which is worth it only for a task that is fine otherwise.
        found.extend(_lacking(spec, clusters))
    return tuple(found)


def unknown_cluster(name: str, clusters: Clusters) -> tuple[FieldError, ...]:
    """Say so if there is no cluster of this name."""
    names = clusters.names()
    if name in names:
        return ()
    return (FieldError("cluster", f"is not configured; there are: {', '.join(names)}"),)


def _lacking(spec: TaskSpec, clusters: Clusters) -> tuple[FieldError, ...]:
    """Name a pull strategy that the cluster lacks; where it cannot be asked now, starting the task will tell."""
    try:
        words = launch.image_volumes_missing(spec, clusters)
    except ClusterUnavailable:
        return ()
    return (FieldError("pullStrategy", words),) if words else ()
