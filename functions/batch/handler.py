"""Create the Jobs of a batch, or the DaemonSet of all: load, check that they are still wanted, create, check again."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ips_common import logs
from ips_common.errors import BusUnavailable, ClusterUnavailable, TemporaryError
from ips_common.finishing import outlived, with_leftovers
from ips_common.manifests import daemonset, job
from ips_common.models.message import BatchMessage, Kick
from ips_common.models.results import Problem, Reason
from ips_common.models.task import Task, TaskStatus
from ips_common.observe import NODE_ANNOTATION
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Cluster, Clusters, Creation, JobOutcome, Json
from ips_common.ports.store import BatchReport, Store

logger = logging.getLogger(__name__)

OUTAGE = timedelta(seconds=120)
"""How long a message is delivered again for troubles that pass; well below what its deliveries last in all."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What all Jobs have in common."""

    namespace: str
    worker_image: str
    worker_pull_policy: str
    ttl_seconds: int
    priority_class: str | None = None


class Outcome(StrEnum):
    """What became of a batch message."""

    CREATED = "created"
    REFUSED = "refused"  # at least one Job; reported to the tracker
    OUTDATED = "outdated"  # the batch is not open (any more)
    WITHDRAWN = "withdrawn"  # the task was cancelled meanwhile; its Jobs are deleted again


def create_batch(
    message: BatchMessage,
    *,
    store: Store,
    bus: Bus,
    clusters: Clusters,
    settings: JobSettings,
    seconds_left: Callable[[], float],
    enter: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Outcome:
    """Create the Jobs of the batch that `message` names; doing so again is harmless.

    Args:
        message: what was delivered.
        store: where the task is.
        bus: where the tracker is kicked.
        clusters: where Jobs are created.
        settings: what all Jobs have in common.
        seconds_left: how long this may take from now on.
        enter: held while a cluster, by its name, is worked on; raises `ClusterUnavailable` where that makes no sense.

    Raises:
        TaskNotFound: the message names no task.
        TemporaryError: not all Jobs could be created now; deliver the message again.
    """
    task = store.task(message.task_id).task
    cluster = clusters.get(task.spec.cluster)
    with logs.bind(cluster=cluster.name):
        if not _wanted(task, message):
            if outlived(task, message.attempt):
                # An earlier delivery may have died between creating and noticing that it was too late.
                with enter(cluster.name):
                    _withdraw(task, message, cluster)
            logger.info("batch is not open, nothing to create", extra={"status": task.status.value})
            return Outcome.OUTDATED
        with enter(cluster.name):
            return _create(task, message, cluster, store, bus, settings, seconds_left)


@contextmanager
def leaving_to_tracker(
    message: BatchMessage, published: datetime | None, *, store: Store, clock: Callable[[], datetime]
) -> Iterator[None]:
    """Create a batch inside; what passes, but lasts too long for deliveries, is left to the tracker.

    Raises:
        TemporaryError: it does not last long yet, or the tracker cannot be told; deliver the message again.
    """
    try:
        yield
    except TemporaryError as error:
        if not is_left_to_tracker(published, clock()):
            raise
        leave_to_tracker(message, store)
        logger.warning("batch is left to the tracker, which sends it again", extra={"error": str(error)})


def is_left_to_tracker(published: datetime | None, now: datetime) -> bool:
    """Whether a batch that cannot be created now is to wait for the tracker, which sends open batches again.

    Deliveries are numbered, and those of an outage must not use them up: a dead letter says that a batch can never be
    created, and fails its nodes. The tracker sends it as soon as it sees the cluster again.
    """
    return published is not None and now - published >= OUTAGE


def leave_to_tracker(message: BatchMessage, store: Store) -> None:
    """Have the tracker look after a batch that cannot be created, or withdrawn, now.

    The tracker sends open batches again by itself. That a task which is over may have Jobs again, made by an earlier
    delivery of this message, it has to be told.

    Raises:
        TemporaryError: it cannot be told now; deliver the message again.
    """
    store.transition(message.task_id, lambda task: with_leftovers(task, message.attempt))


def _create(
    task: Task,
    message: BatchMessage,
    cluster: Cluster,
    store: Store,
    bus: Bus,
    settings: JobSettings,
    seconds_left: Callable[[], float],
) -> Outcome:
    if task.is_daemonset:
        shards = [item.shard for item in store.all_shards(task.task_id) if item.shard.attempt == task.attempt]
        nodes = [node.name for shard in shards for node in shard.nodes if node.result is None]
        outcome = _create_daemonset(task, nodes, cluster, settings, max(1.0, seconds_left()))
    else:
        jobs = _jobs(task, message, store, settings)
        outcomes = cluster.create_jobs(jobs, timeout=max(1.0, seconds_left()))
    if outlived(store.task(message.task_id).task, message.attempt):
        _withdraw(task, message, cluster)
        return Outcome.WITHDRAWN
    if task.is_daemonset:
        return _conclude_daemonset(task, message, nodes, outcome, store, bus)
    return _conclude(task, message, jobs, outcomes, store, bus)


def _wanted(task: Task, message: BatchMessage) -> bool:
    return (
        task.status is TaskStatus.RUNNING
        and task.attempt == message.attempt
        and any(batch.number == message.batch for batch in task.open_batches)
    )


def _withdraw(task: Task, message: BatchMessage, cluster: Cluster) -> None:
    if task.is_daemonset:
        cluster.delete_daemonsets(task.task_id, attempt=message.attempt)
    else:
        cluster.delete_jobs(task.task_id, batch=message.batch, attempt=message.attempt)


def _create_daemonset(
    task: Task, nodes: Sequence[str], cluster: Cluster, settings: JobSettings, seconds: float
) -> JobOutcome:
    manifest = daemonset(
        task,
        nodes,
        namespace=settings.namespace,
        worker_image=settings.worker_image,
        worker_pull_policy=settings.worker_pull_policy,
        priority_class=settings.priority_class,
        request_id=task.request_id,
    )
    return cluster.create_daemonset(manifest, seconds)


def _conclude_daemonset(
    task: Task, message: BatchMessage, nodes: Sequence[str], outcome: JobOutcome, store: Store, bus: Bus
) -> Outcome:
    if outcome.creation is Creation.FAILED:
        raise ClusterUnavailable(f"the DaemonSet of task {task.task_id} could not be created: {outcome.message}")
    if outcome.creation is not Creation.REFUSED:
        logger.info("DaemonSet created", extra={"nodes": len(nodes)})
        return Outcome.CREATED
    logger.warning("cluster refuses the DaemonSet", extra={"error": outcome.message})
    refusal = outcome.message if _is_hopeless(outcome) else None
    # What is said of one node goes for all.
    problems = dict.fromkeys(nodes[:1], _problem(outcome))
    store.report(task.task_id, BatchReport(message.attempt, message.batch, problems, refusal=refusal))
    _kick(task, bus)
    return Outcome.REFUSED


def _jobs(task: Task, message: BatchMessage, store: Store, settings: JobSettings) -> list[Json]:
    shards = store.shards(task.task_id, [(task.attempt, task.shard_of(message.batch))])
    nodes = shards[0].shard.nodes[task.slice_of(message.batch)]
    return [
        job(
            task,
            message.batch,
            node.name,
            namespace=settings.namespace,
            worker_image=settings.worker_image,
            worker_pull_policy=settings.worker_pull_policy,
            priority_class=settings.priority_class,
            ttl_seconds=settings.ttl_seconds,
            request_id=task.request_id,
        )
        for node in nodes
        if node.result is None
    ]


def _conclude(
    task: Task, message: BatchMessage, jobs: Sequence[Json], outcomes: Sequence[JobOutcome], store: Store, bus: Bus
) -> Outcome:
    unmade = [outcome for outcome in outcomes if outcome.creation is Creation.FAILED]
    if unmade:
        away = any(outcome.status == 0 for outcome in unmade)
        raise (ClusterUnavailable if away else TemporaryError)(
            f"{len(unmade)} of {len(outcomes)} Jobs of task {task.task_id} could not be created: {unmade[0].message}"
        )
    logger.info("Jobs created", extra={"jobs": len(outcomes)})
    refused = [
        (made["metadata"]["annotations"][NODE_ANNOTATION], outcome)
        for made, outcome in zip(jobs, outcomes, strict=True)
        if outcome.creation is Creation.REFUSED
    ]
    if not refused:
        return Outcome.CREATED
    refusal = refused[0][1]
    problems = {node: _problem(outcome) for node, outcome in refused}
    hopeless = len(refused) == len(outcomes) and _is_hopeless(refusal)
    logger.warning("cluster refuses Jobs", extra={"refused": len(refused), "error": refusal.message})
    store.report(
        task.task_id,
        BatchReport(message.attempt, message.batch, problems, refusal=refusal.message if hopeless else None),
    )
    _kick(task, bus)
    return Outcome.REFUSED


def _kick(task: Task, bus: Bus) -> None:
    try:
        bus.publish([Kick(cluster=task.spec.cluster, task_id=task.task_id, request_id=task.request_id)])
    except BusUnavailable as error:
        logger.warning("tracker not kicked, it will find the report", extra={"error": str(error)})


def _problem(outcome: JobOutcome) -> Problem:
    """Translate a refusal; the words are those of kube-apiserver and its admission plugins."""
    if "exceeded quota" in outcome.message:
        return Problem(Reason.JOB_CREATE_FAILED, outcome.message, retryable=True)
    if outcome.status == 403 or "denied the request" in outcome.message:
        return Problem(Reason.REFUSED_BY_ADMISSION, outcome.message, retryable=False)
    return Problem(Reason.JOB_CREATE_FAILED, outcome.message, retryable=False)


def _is_hopeless(outcome: JobOutcome) -> bool:
    """Whether no other Job of any batch would fare better: no rights, or no such namespace."""
    forbidden = outcome.status == 403 and "cannot create resource" in outcome.message
    return forbidden or outcome.status == 404
