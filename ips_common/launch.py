"""Starting a task: snapshot the nodes, take a slot, open the first batches.

Shared by the function that accepts tasks and the one that starts waiting ones. Every step may be repeated by either, at
any time: the write that starts the task is one compare-and-set, and messages are sent again while Jobs do not appear.
"""

import logging
from datetime import datetime

from ips_common.errors import BusUnavailable, ClusterRefused, ClusterUnavailable, SlotsFull, StaleVersion
from ips_common.finishing import log_end, notifications
from ips_common.models.message import BatchMessage, Kick, Outgoing
from ips_common.models.task import PendingReason, PullStrategy, Task, TaskSpec, TaskStatus, queue_order
from ips_common.planning import Plan, begin, begin_retry, fail, plan, wait_for, wanted_images
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store, StoredShard, StoredTask
from ips_common.reconcile import Step, advance

logger = logging.getLogger(__name__)


def image_volumes_missing(spec: TaskSpec, clusters: Clusters) -> str:
    """Return the words to refuse a task with that wants image volumes of a cluster without them, else "".

    A cluster that does not let itself be asked gets the benefit of the doubt: what it refuses the results will say.

    Raises:
        ClusterUnavailable: the cluster cannot be asked now.
    """
    if spec.pull_strategy is not PullStrategy.IMAGE_VOLUME:
        return ""
    try:
        supported = clusters.get(spec.cluster).supports_image_volumes()
    except ClusterRefused as error:
        fields = {"cluster": spec.cluster, "error": str(error)}
        logger.warning("cluster cannot be asked for image volumes", extra=fields)
        return ""
    return "" if supported else f"cluster {spec.cluster} has no image volumes; use container"


def plan_only(spec: TaskSpec, clusters: Clusters) -> Plan:
    """Return what a task would do now.

    Raises:
        ClusterUnavailable: the nodes cannot be read now.
        ClusterRefused: the nodes may not be read.
    """
    wanted = wanted_images(spec) if spec.skips_present else ()
    return plan(spec, clusters.get(spec.cluster).nodes(spec.node_selector, wanted))


def launch(stored: StoredTask, *, store: Store, bus: Bus, clusters: Clusters, now: datetime) -> StoredTask:
    """Start a pending task if its turn has come; returns it as it stands afterwards.

    A task that cannot start yet stays pending with its reason: no slot, or a cluster that cannot be reached.
    """
    if stored.task.status is not TaskStatus.PENDING:
        return stored
    try:
        if not _first_in_line(stored.task, store):
            return _wait(store, stored, PendingReason.SLOT)
        begun = _begin(store, stored, clusters, now)
    except SlotsFull:
        return _wait(store, stored, PendingReason.SLOT)
    except ClusterUnavailable as error:
        task = stored.task
        logger.warning(
            "cluster cannot be reached, task waits",
            extra={**_ids(task), "error": str(error)},
        )
        waiting = _wait(store, stored, PendingReason.CLUSTER)
        if waiting is not stored:
            # The tracker tries again every few seconds while it runs, but who knows that it does.
            announce(bus, waiting.task)
        return waiting
    except ClusterRefused as error:
        failed = fail(stored.task, f"the cluster refuses to list its nodes: {error}", now)
        ended = _save(store, stored, failed)
        log_end(ended.task, now)
        announce(bus, ended.task)
        return ended
    except StaleVersion:
        # Somebody else started or cancelled it meanwhile.
        return store.task(stored.task.task_id)
    log_end(begun[0].task, now)
    announce(bus, begun[0].task, begun[1])
    return begun[0]


def announce(bus: Bus, task: Task, messages: tuple[BatchMessage, ...] = ()) -> None:
    """Publish batch messages and a kick, or that the task has ended; what is lost here the tracker sends again."""
    outgoing: list[Outgoing] = [*messages, *notifications(task)]
    if not task.status.final:
        outgoing.append(Kick(cluster=task.spec.cluster, task_id=task.task_id, request_id=task.request_id))
    if not outgoing:
        return
    try:
        bus.publish(outgoing)
    except BusUnavailable as error:
        logger.warning("messages not published, the tracker will", extra={**_ids(task), "error": str(error)})


def _ids(task: Task) -> dict[str, str | None]:
    """What entries about a task say, whoever launches it."""
    return {"taskId": task.task_id, "cluster": task.spec.cluster, "requestId": task.request_id}


def _first_in_line(task: Task, store: Store) -> bool:
    head = store.queue(task.spec.cluster, 1)
    if not head:
        return True
    first = head[0].task
    return first.task_id == task.task_id or queue_order(task) < queue_order(first)


def _begin(
    store: Store, stored: StoredTask, clusters: Clusters, now: datetime
) -> tuple[StoredTask, tuple[BatchMessage, ...]]:
    task = stored.task
    if task.total_nodes:
        old = store.all_shards(task.task_id)
        begun, shards, changed = begin_retry(task, [item.shard for item in old], now)
        by_place = {(item.shard.attempt, item.shard.index): item for item in old}
        taken_over = [StoredShard(shard, by_place[shard.attempt, shard.index].version) for shard in changed]
    else:
        if words := image_volumes_missing(task.spec, clusters):
            return _save(store, stored, fail(task, f"pullStrategy: {words}", now)), ()
        begun, shards = begin(task, plan_only(task.spec, clusters), now)
        taken_over = []
    step = advance(begun, (), now) if begun.status is TaskStatus.RUNNING else Step(begun)
    return store.start(stored, step.task, shards, taken_over), step.messages


def _wait(store: Store, stored: StoredTask, reason: PendingReason) -> StoredTask:
    return _save(store, stored, wait_for(stored.task, reason))


def _save(store: Store, stored: StoredTask, task: Task) -> StoredTask:
    if task is stored.task:
        return stored
    try:
        return store.save(stored, task)[0]
    except StaleVersion:
        return store.task(task.task_id)
