"""What must hold of a task whenever it is written, whoever wrote it and whatever happened before."""

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from ips_common.models.results import NodeState, NodeStatus, Reason, Shard
from ips_common.models.task import Task, TaskStatus
from ips_common.models.webhook import WebhookState
from ips_common.observe import Key
from ips_common.reconcile import is_settled

NEXT = {
    TaskStatus.PENDING: set(TaskStatus),
    TaskStatus.RUNNING: set(TaskStatus),
    TaskStatus.COMPLETED: {TaskStatus.COMPLETED},
    TaskStatus.FAILED: {TaskStatus.FAILED},
    TaskStatus.CANCELLED: {TaskStatus.CANCELLED},
}
WITHOUT_JOB = {Reason.JOB_CREATE_FAILED, Reason.REFUSED_BY_ADMISSION, Reason.NOT_ATTEMPTED}
"""Reasons that need no Job to have existed."""
WITHOUT_SET = WITHOUT_JOB | {Reason.NODE_GONE, Reason.NODE_NOT_READY}
"""Reasons that need no DaemonSet to have existed: it makes no pods for lost nodes, so they are looked at themselves."""

OF_FAILED_JOBS = ("Evicted", "active longer")
"""What is said of Jobs that failed, and of no others."""


def broken(before: Task | None, task: Task, shards: Sequence[Shard]) -> list[str]:
    """Return what is wrong with a task as it was just written."""
    counted = [state for shard in shards for state in shard.nodes if not state.superseded]
    return [
        *_broken_step(before, task),
        *_broken_counts(task, counted),
        *_broken_order(task, {(shard.attempt, shard.index): shard for shard in shards}),
        *(_broken_end(task, counted) if task.status.final else ()),
    ]


def _broken_step(before: Task | None, task: Task) -> list[str]:
    if before is None:
        return [] if task.status is TaskStatus.PENDING else ["a task began otherwise than pending"]
    wrong = []
    if task.status not in NEXT[before.status]:
        wrong.append(f"{before.status} became {task.status}")
    if task.attempt not in {before.attempt, before.attempt + 1} or task.attempt > task.spec.max_retries:
        wrong.append(f"attempt {before.attempt} was followed by {task.attempt}")
    if task.attempt > before.attempt and before.status is not TaskStatus.PENDING:
        wrong.append("a new attempt began while the old one ran")
    if task.attempt == before.attempt and task.opened < before.opened and before.status is TaskStatus.RUNNING:
        wrong.append("a batch was opened twice")
    if before.total_nodes and task.total_nodes != before.total_nodes:
        wrong.append(f"total went from {before.total_nodes} to {task.total_nodes}")
    if task.completed_nodes < before.completed_nodes:
        wrong.append("a node that had succeeded no longer counts")
    return wrong


def _broken_counts(task: Task, counted: Sequence[NodeState]) -> list[str]:
    wrong = []
    names = Counter(state.name for state in counted)
    if counted and len(counted) != task.total_nodes:
        wrong.append(f"{task.total_nodes} nodes in all, but {len(counted)} entries")
    if names and max(names.values()) > 1:
        wrong.append(f"a node counts twice: {names.most_common(1)[0][0]}")
    results = [state.result for state in counted if state.result]
    failed = [result for result in results if result.status is NodeStatus.FAILED]
    expected = {
        "completed_nodes": len(results) - len(failed),
        "failed_nodes": len(failed),
        "skipped_nodes": sum(result.status is NodeStatus.SKIPPED for result in results),
        "lasting_failures": sum(not result.retryable for result in failed),
        "failure_reasons": dict(
            Counter(i.problem.reason.value for result in failed for i in result.images if i.problem)
        ),
    }
    found = {name: getattr(task, name) for name in expected}
    if found != expected:
        wrong.append(f"counts say {found}, results say {expected}")
    digests: dict[str, Counter[str]] = {}
    for result in results:
        for image in result.images:
            if image.digest:
                digests.setdefault(image.image, Counter())[image.digest] += 1
    if task.image_digests != digests:
        wrong.append(f"digests say {task.image_digests}, results say {digests}")
    lines = Counter((line.node_name, line.image) for line in task.failed_node_details)
    problems = {(state.name, i.image) for state in counted if state.result for i in state.result.images if i.problem}
    if set(lines) != problems or any(count > 1 for count in lines.values()):
        wrong.append(f"details name {sorted(lines)}, results {sorted(problems)}")
    return wrong


def _broken_order(task: Task, shards: dict[tuple[int, int], Shard]) -> list[str]:
    wrong = []
    numbers = [batch.number for batch in task.open_batches]
    if len(numbers) > task.spec.max_concurrent_batches and not task.is_daemonset:
        wrong.append(f"{len(numbers)} batches are open, {task.spec.max_concurrent_batches} may be")
    if len(set(numbers)) < len(numbers) or any(not 1 <= number <= task.opened for number in numbers):
        wrong.append(f"batches {numbers} are open of {task.opened} ever opened")
    if task.opened > task.batches:
        wrong.append("a batch that does not exist was opened")
    if task.status is not TaskStatus.RUNNING:
        return wrong + (["batches of a task that does not run are open"] if numbers else [])
    if not numbers:
        wrong.append("a running task has no open batch, so nothing moves it on")
    for number in range(1, task.batches + 1):
        shard = shards[task.attempt, task.shard_of(number)]
        if number <= task.opened and number not in numbers and not is_settled(task, shard, number):
            wrong.append(f"batch {number} was closed before it was settled")
        if number > task.opened and any(state.result for state in shard.nodes[task.slice_of(number)]):
            wrong.append(f"batch {number} has results before it was opened")
    return wrong


def _broken_end(task: Task, counted: Sequence[NodeState]) -> list[str]:
    wrong = []
    if task.finished_at is None:
        wrong.append("a finished task has no time of its end")
    if (task.webhook is None) is not (task.spec.webhook_url is None):
        wrong.append("nobody is told of the end")
    if task.status is TaskStatus.CANCELLED:
        return wrong
    if any(state.result is None for state in counted) or task.settled_nodes != task.total_nodes:
        wrong.append(f"{task.status}, but only {task.settled_nodes} of {task.total_nodes} nodes have a result")
    if task.status is TaskStatus.COMPLETED and task.completed_nodes < task.spec.success_threshold * task.total_nodes:
        wrong.append("completed below its threshold")
    if task.status is TaskStatus.FAILED and not task.error_message:
        wrong.append("failed without saying why")
    return wrong


def untrue(
    task: Task,
    shards: Sequence[Shard],
    tried: AbstractSet[Key],
    failed: AbstractSet[Key],
    pulled: AbstractSet[tuple[str, int, str, str]],
) -> list[str]:
    """Return results that have nothing to do with what went on in the cluster."""
    wrong = []
    had_job = {(key.attempt, key.node) for key in tried if key.task_id == task.task_id}
    lost_job = {(key.attempt, key.node) for key in failed if key.task_id == task.task_id}
    for shard in shards:
        for state in shard.nodes:
            if state.result is None or state.result.status is NodeStatus.SKIPPED:
                continue
            place = (shard.attempt, state.name)
            for image in state.result.images:
                problem = image.problem
                if problem is None:
                    if (task.task_id, shard.attempt, state.name, image.image) not in pulled:
                        wrong.append(f"{state.name} never pulled {image.image} in attempt {shard.attempt}")
                    continue
                needless = WITHOUT_SET if task.is_daemonset else WITHOUT_JOB
                if problem.reason not in needless and place not in had_job:
                    wrong.append(f"{state.name}: {problem.reason} without a Job in attempt {shard.attempt}")
                if problem.message.startswith(OF_FAILED_JOBS) and not task.is_daemonset and place not in lost_job:
                    wrong.append(
                        f"{state.name}: {problem.reason} though its Job of attempt {shard.attempt} did not fail"
                    )
    return wrong


def untried(task: Task, shards: Sequence[Shard], cursed: AbstractSet[str], since: datetime) -> list[str]:
    """Return nodes that were given up after `since` without a Job, although nothing was in its way but a curse."""
    return [
        f"{state.name} was given up although nothing was in its way: {image.problem.message}"
        for shard in shards
        for state in shard.nodes
        for image in (state.result.images if state.result and state.result.at > since else ())
        if image.problem and image.problem.reason is Reason.JOB_CREATE_FAILED
        if task.is_daemonset or state.name not in cursed
    ]


def untold(task: Task, told: AbstractSet[str], given_up: AbstractSet[str]) -> list[str]:
    """Return what is wrong with the telling of a finished task's end.

    `told` are the events that receivers took, `given_up` those that they did not want or whose message died.
    """
    webhook = task.webhook
    if webhook is None:
        return []
    if webhook.state is WebhookState.PENDING:
        return ["the webhook is neither delivered nor given up"]
    if webhook.state is WebhookState.DELIVERED and webhook.event_id not in told:
        return ["the webhook counts as delivered, but nobody got it"]
    if webhook.state is WebhookState.FAILED and webhook.event_id not in given_up:
        return ["the webhook counts as given up, but nobody gave it up"]
    return []
