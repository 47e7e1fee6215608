"""How results change a task: pure steps from what is stored and what was found to what is to be stored and done."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ips_common.errors import TaskFinished
from ips_common.finishing import finish
from ips_common.models.message import BatchMessage
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Shard
from ips_common.models.task import (
    MAX_FAILED_NODE_DETAILS,
    FailedNode,
    OpenBatch,
    PendingReason,
    RetryPolicy,
    Task,
    TaskStatus,
)
from ips_common.planning import fail

RESEND_FIRST = timedelta(seconds=10)
RESEND_MOST = timedelta(seconds=60)
CREATE_PATIENCE = timedelta(seconds=600)
"""How long a batch may be open before nodes without a Job settle as failed, unless `timeoutSeconds` is longer."""


def settle(task: Task, shard: Shard, results: Mapping[int, NodeResult]) -> tuple[Task, Shard]:
    """Record the results of nodes, by their position in the shard; a node that has one already keeps it."""
    nodes = list(shard.nodes)
    fresh: list[NodeState] = []
    for position, result in results.items():
        if nodes[position].result is None:
            nodes[position] = replace(nodes[position], result=result)
            fresh.append(nodes[position])
    if not fresh:
        return task, shard
    return _count(task, fresh), replace(shard, nodes=tuple(nodes))


def _count(task: Task, nodes: Sequence[NodeState]) -> Task:
    succeeded = failed = lasting = 0
    reasons = Counter(task.failure_reasons)
    digests = {image: dict(counts) for image, counts in task.image_digests.items()}
    details = list(task.failed_node_details)
    for node in nodes:
        result = node.result
        if result is None:
            continue
        succeeded += result.succeeded
        failed += not result.succeeded
        lasting += not result.succeeded and not result.retryable
        for image in result.images:
            if image.problem:
                reasons[image.problem.reason.value] += 1
                if len(details) < MAX_FAILED_NODE_DETAILS:
                    details.append(_detail(node.name, image.image, image.problem, result.at))
            elif image.digest:
                counts = digests.setdefault(image.image, {})
                counts[image.digest] = counts.get(image.digest, 0) + 1
    return task.model_copy(
        update={
            "completed_nodes": task.completed_nodes + succeeded,
            "failed_nodes": task.failed_nodes + failed,
            "lasting_failures": task.lasting_failures + lasting,
            "failure_reasons": dict(reasons),
            "image_digests": digests,
            "failed_node_details": tuple(details),
        }
    )


def _detail(node: str, image: str, problem: Problem, at: datetime) -> FailedNode:
    return FailedNode(
        node_name=node,
        image=image,
        reason=problem.reason.value,
        message=problem.message,
        retryable=problem.retryable,
        timestamp=at,
    )


def is_settled(task: Task, shard: Shard, batch: int) -> bool:
    """Whether every node of an open batch has its result."""
    return all(node.result is not None for node in shard.nodes[task.slice_of(batch)])


def out_of_reach(task: Task) -> bool:
    """Whether the success threshold can no longer be met, retries included."""
    lost = task.lasting_failures if task.attempt < task.spec.max_retries else task.failed_nodes
    return (task.total_nodes - lost) / task.total_nodes < task.spec.success_threshold


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from settled batches: the task to store, and batch messages to publish once it is stored."""

    task: Task
    messages: tuple[BatchMessage, ...] = ()
    reason: str = ""


def advance(task: Task, settled: Collection[int], now: datetime) -> Step:
    """Close settled batches, then open the next ones, finish, or go back to wait for a retry."""
    left = tuple(batch for batch in task.open_batches if batch.number not in settled)
    task = task if len(left) == len(task.open_batches) else task.model_copy(update={"open_batches": left})
    if not task.open_batches and task.opened == task.batches:
        return _attempt_over(task, now)
    free = task.window - len(task.open_batches)
    numbers = range(task.opened + 1, min(task.opened + free, task.batches) + 1)
    if not numbers:
        return Step(task)
    opening = tuple(OpenBatch(number=number, opened_at=now, sent_at=now, sends=1) for number in numbers)
    opened = task.model_copy(update={"open_batches": (*task.open_batches, *opening), "opened": numbers[-1]})
    # Any of a DaemonSet's batches makes all of it.
    told = opening[:1] if task.is_daemonset else opening
    return Step(opened, tuple(message(opened, batch) for batch in told), "batches opened")


def message(task: Task, batch: OpenBatch) -> BatchMessage:
    """Return the message that makes the batch's Jobs."""
    return BatchMessage(task_id=task.task_id, attempt=task.attempt, batch=batch.number, request_id=task.request_id)


def _attempt_over(task: Task, now: datetime) -> Step:
    if task.completed_nodes / task.total_nodes >= task.spec.success_threshold:
        # Jobs go by their TTL; a DaemonSet stays until somebody deletes it.
        cleanup = task.failed_nodes > 0 or task.is_daemonset
        over = finish(task, TaskStatus.COMPLETED, now).model_copy(update={"cleanup": cleanup})
        return Step(over)
    if task.attempt < task.spec.max_retries and task.failed_nodes > task.lasting_failures:
        waiting = {
            "status": TaskStatus.PENDING,
            "pending_reason": PendingReason.RETRY,
            "not_before": now + retry_delay(task),
            "cleanup": True,
        }
        return Step(task.model_copy(update=waiting), reason="below the threshold, retries are left")
    return Step(fail(task, _below(task), now).model_copy(update={"cleanup": True}))


def retry_delay(task: Task) -> timedelta:
    """Return how long to wait before the next attempt."""
    factor = task.attempt + 1 if task.spec.retry_policy is RetryPolicy.LINEAR else 2**task.attempt
    return timedelta(seconds=task.spec.retry_delay_seconds * factor)


def _below(task: Task) -> str:
    words = (
        f"{task.completed_nodes} of {task.total_nodes} nodes succeeded, "
        f"below the threshold of {task.spec.success_threshold:.0%}"
    )
    if not task.failure_reasons:
        return words
    reason, count = max(task.failure_reasons.items(), key=lambda item: item[1])
    return f"{words}; most frequent reason: {reason} ({count})"


def abandon(
    task: Task, shards: Iterable[Shard], problem: Problem, error_message: str, now: datetime
) -> tuple[Task, tuple[Shard, ...]]:
    """Fail a task before every node was tried: nodes without a result get `problem`, so that the counts add up.

    Args:
        task: the task, with everything known counted.
        shards: all shards of the current attempt.
        problem: what nodes without a result get.
        error_message: why the task failed.
        now: the current time.

    Returns:
        The failed task and all the shards in the order given; those that did not change are the same objects.
    """
    settled = []
    for shard in shards:
        untried = [position for position, node in enumerate(shard.nodes) if node.result is None]
        task, complete = settle(task, shard, {position: failed_result(task, problem, now) for position in untried})
        settled.append(complete)
    return fail(task, error_message, now).model_copy(update={"cleanup": True}), tuple(settled)


def failed_result(task: Task, problem: Problem, now: datetime) -> NodeResult:
    """Return the result of a node on which no image was even tried."""
    from_problem = tuple(ImageResult(image, problem=problem) for image in task.spec.images)
    return NodeResult(NodeStatus.FAILED, from_problem, now)


def resend_at(batch: OpenBatch) -> datetime:
    """Return when a batch whose Jobs do not appear is to be published again."""
    if batch.sent_at is None:
        return batch.opened_at
    pauses = 1 << min(max(0, batch.sends - 1), 10)
    return batch.sent_at + min(RESEND_FIRST * pauses, RESEND_MOST)


def resent(task: Task, number: int, now: datetime) -> Task:
    """Return the task with another sending of a batch noted."""
    batches = tuple(
        batch.model_copy(update={"sent_at": now, "sends": batch.sends + 1}) if batch.number == number else batch
        for batch in task.open_batches
    )
    return task.model_copy(update={"open_batches": batches})


def gives_up_at(task: Task, batch: OpenBatch) -> datetime:
    """Return when nodes of a batch that still have no Job settle as failed."""
    return batch.opened_at + max(CREATE_PATIENCE, timedelta(seconds=task.spec.timeout_seconds))


def cancelled(task: Task, now: datetime) -> Task:
    """Return the task cancelled; the same object if it is already.

    Raises:
        TaskFinished: it ended another way.
    """
    if task.status is TaskStatus.CANCELLED:
        return task
    if task.status.final:
        raise TaskFinished(f"task {task.task_id} is already {task.status.value}")
    over = finish(task, TaskStatus.CANCELLED, now)
    return over.model_copy(update={"cleanup": task.started_at is not None})
