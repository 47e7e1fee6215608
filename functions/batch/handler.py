"""Create the Jobs of one batch: load, check that they are still wanted, create, check again."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ips_common.errors import BusUnavailable, ClusterUnavailable
from ips_common.manifests import job
from ips_common.models.message import BatchMessage, Kick
from ips_common.models.results import Problem, Reason
from ips_common.models.task import Task, TaskStatus
from ips_common.observe import NODE_ANNOTATION
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters, Creation, JobOutcome, Json
from ips_common.ports.store import BatchReport, Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What all Jobs have in common."""

    namespace: str
    worker_image: str
    worker_pull_policy: str
    ttl_seconds: int


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
) -> Outcome:
    """Create the Jobs of the batch that `message` names; doing so again is harmless.

    Raises:
        TaskNotFound: the message names no task.
        TemporaryError: not all Jobs could be created now; deliver the message again.
    """
    task = store.task(message.task_id).task
    cluster = clusters.get(task.spec.cluster)
    if not _wanted(task, message):
        if task.status is TaskStatus.CANCELLED:
            # An earlier delivery may have died between creating Jobs and noticing the cancellation.
            cluster.delete_jobs(task.task_id, batch=message.batch, attempt=message.attempt)
        logger.info("batch is not open, nothing to create", extra={"status": task.status.value})
        return Outcome.OUTDATED
    jobs = _jobs(task, message, store, settings)
    outcomes = cluster.create_jobs(jobs, timeout=max(1.0, seconds_left()))
    if _withdrawn(message, store):
        cluster.delete_jobs(task.task_id, batch=message.batch, attempt=message.attempt)
        return Outcome.WITHDRAWN
    return _conclude(task, message, jobs, outcomes, store, bus)


def _wanted(task: Task, message: BatchMessage) -> bool:
    return (
        task.status is TaskStatus.RUNNING
        and task.attempt == message.attempt
        and any(batch.number == message.batch for batch in task.open_batches)
    )


def _withdrawn(message: BatchMessage, store: Store) -> bool:
    """Whether the task was cancelled, or failed as a whole, while its Jobs were being created."""
    task = store.task(message.task_id).task
    return task.status in {TaskStatus.CANCELLED, TaskStatus.FAILED}


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
        raise ClusterUnavailable(
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
    try:
        bus.publish([Kick(cluster=task.spec.cluster, task_id=task.task_id, request_id=task.request_id)])
    except BusUnavailable as error:
        logger.warning("tracker not kicked, it will find the report", extra={"error": str(error)})
    return Outcome.REFUSED


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
