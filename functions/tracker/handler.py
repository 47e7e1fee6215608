"""What a message to the tracker asks for."""

import logging
from collections.abc import Mapping

from functions.tracker.runner import Runner
from ips_common.errors import MalformedMessage, TaskNotFound
from ips_common.finishing import given_up, with_leftovers
from ips_common.models.message import BatchMessage, Kick, Notification, Tick
from ips_common.models.results import Problem, Reason
from ips_common.models.task import TaskStatus
from ips_common.models.webhook import WebhookState
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import BatchReport, Store

logger = logging.getLogger(__name__)

SOURCE = "CloudPubSubDeadLetterSourceSubscription"
"""The attribute in which Pub/Sub says whose dead letter a message is."""

_SOURCES = {BatchMessage: "ips-batches-push", Notification: "ips-notifications-push"}


def check_source(
    message: BatchMessage | Notification | Kick | Tick, attributes: Mapping[str, str], *, dead: bool
) -> None:
    """Check that a message came the way its kind comes.

    Dead letters of all subscriptions share a topic, and others may publish to release topics: what they wrote must not
    pass for a batch that failed.

    Raises:
        MalformedMessage: it came another way.
    """
    expected = _SOURCES.get(type(message))
    found = attributes.get(SOURCE, "").rpartition("/")[2] if dead else None
    if found != expected:
        raise MalformedMessage(f"a {message.kind} message from {found or 'no dead letters'} is not believed")


def handle(message: Kick | Tick, *, runner: Runner, clusters: Clusters, seconds: float) -> None:
    """Track the cluster of a kick, or all clusters, for `seconds` at most.

    Raises:
        TemporaryError: tracking broke off; deliver the message again.
    """
    match message:
        case Kick(cluster=cluster, task_id=task_id):
            if cluster not in clusters.names():
                logger.error("kick for a cluster that is not configured", extra={"cluster": cluster})
                return
            runner.track([cluster], task_id, seconds)
        case Tick():
            runner.track(clusters.names(), None, seconds)


def bury(message: BatchMessage, deliveries: int, *, store: Store) -> Kick | None:
    """Report a batch whose message ended in the dead-letter topic, so that its nodes without a Job settle.

    If the task is over meanwhile, what the batch made before it died has to go.

    Returns:
        A kick for the tracker; None if the batch is of no interest any more.
    """
    try:
        task = store.task(message.task_id).task
    except TaskNotFound:
        logger.warning("dead letter of a task that does not exist")
        return None
    kick = Kick(cluster=task.spec.cluster, task_id=task.task_id, request_id=message.request_id)
    if task.status is not TaskStatus.RUNNING or task.attempt != message.attempt:
        marked = store.transition(task.task_id, lambda task: with_leftovers(task, message.attempt)).task
        return kick if marked.cleanup else None
    shards = store.shards(task.task_id, [(task.attempt, task.shard_of(message.batch))])
    words = f"the batch could not be created in {deliveries} attempts"
    problem = Problem(Reason.JOB_CREATE_FAILED, words, retryable=True)
    nodes = shards[0].shard.nodes[task.slice_of(message.batch)] if shards else ()
    problems = {node.name: problem for node in nodes if node.result is None}
    store.report(task.task_id, BatchReport(message.attempt, message.batch, problems))
    logger.error(
        "batch message was dead-lettered",
        extra={"cluster": task.spec.cluster, "deliveries": deliveries, "nodes": len(problems)},
    )
    return kick


def bury_notification(message: Notification, deliveries: int, *, store: Store) -> None:
    """Say on the task that its webhook, whose notification ended in the dead-letter topic, will not be called again."""
    try:
        task = store.transition(message.task_id, lambda task: given_up(task, message.event_id, deliveries)).task
    except TaskNotFound:
        logger.warning("dead letter of a task that does not exist")
        return
    if task.webhook and task.webhook.state is WebhookState.FAILED:
        fields = {"cluster": task.spec.cluster, "deliveries": deliveries, "error": task.webhook.last_error or ""}
        logger.error("webhook was never delivered", extra=fields)
