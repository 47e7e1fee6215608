"""Which nodes a task prewarms, and how they are cut into batches and shards."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ips_common.finishing import finish
from ips_common.models.image import parse_image
from ips_common.models.node import Node
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Shard
from ips_common.models.task import PendingReason, Task, TaskSpec, TaskStatus


@dataclass(frozen=True, slots=True)
class Plan:
    """The snapshot: nodes that get a Job, nodes that hold every image already, and what was left out, by reason."""

    nodes: tuple[Node, ...]
    skipped: tuple[Node, ...]
    excluded: Mapping[str, int]

    @property
    def total(self) -> int:
        """Nodes the task is about."""
        return len(self.nodes) + len(self.skipped)

    def batches(self, size: int) -> Sequence[Sequence[Node]]:
        """Cut the nodes that get a Job into batches of `size`, in the plan's order."""
        return [self.nodes[start : start + size] for start in range(0, len(self.nodes), size)]


def wanted_images(spec: TaskSpec) -> frozenset[str]:
    """Return the canonical references of the task's images."""
    return frozenset(parse_image(image).canonical for image in spec.images)


def plan(spec: TaskSpec, nodes: Iterable[Node]) -> Plan:
    """Take the snapshot of `nodes`, which match the selector, in the stable order of their names."""
    wanted = wanted_images(spec)
    chosen: list[Node] = []
    skipped: list[Node] = []
    excluded: Counter[str] = Counter()
    for node in sorted(nodes, key=lambda node: node.name):
        if node.exclusion:
            excluded[node.exclusion.value] += 1
        elif spec.skips_present and wanted <= node.images:
            skipped.append(node)
        else:
            chosen.append(node)
    return Plan(tuple(chosen), tuple(skipped), dict(excluded))


def begin(task: Task, plan: Plan, now: datetime) -> tuple[Task, tuple[Shard, ...]]:
    """Return the task with its first attempt begun, no batch open yet, and the attempt's shards.

    Skipped nodes stand behind the batches' nodes and have their result already, so batch numbers stay simple
    arithmetic. A plan without nodes makes the task final at once.
    """
    result = NodeResult(NodeStatus.SKIPPED, tuple(ImageResult(image) for image in task.spec.images), now)
    states = [NodeState(node.name, node.uid) for node in plan.nodes]
    states += [NodeState(node.name, node.uid, result) for node in plan.skipped]
    started = task.model_copy(
        update={
            "status": TaskStatus.RUNNING,
            "pending_reason": None,
            "not_before": None,
            "started_at": task.started_at or now,
            "total_nodes": plan.total,
            "completed_nodes": len(plan.skipped),
            "skipped_nodes": len(plan.skipped),
            "excluded_nodes": dict(plan.excluded),
        }
    )
    if plan.total == 0:
        return fail(started, _nothing_to_do(plan), now), ()
    started = _attempt(started, len(plan.nodes))
    if not plan.nodes:
        started = finish(started, TaskStatus.COMPLETED, now)
    return started, cut(started, states)


def cut(task: Task, states: Sequence[NodeState]) -> tuple[Shard, ...]:
    """Cut an attempt's nodes into shards that hold whole batches."""
    size = task.shard_size
    return tuple(
        Shard(task.attempt, index, tuple(states[start : start + size]))
        for index, start in enumerate(range(0, len(states), size))
    )


def begin_retry(
    task: Task, shards: Iterable[Shard], now: datetime
) -> tuple[Task, tuple[Shard, ...], tuple[Shard, ...]]:
    """Return the task with its next attempt begun, that attempt's shards, and earlier shards that it changes.

    Only nodes that failed for a retryable reason are taken over; their old entries are superseded, and their failures
    and the images they did get leave the task's counts, to be counted again by the new attempt.
    """
    taken: list[NodeState] = []
    changed: list[Shard] = []
    reasons = Counter(task.failure_reasons)
    digests = {image: Counter(counts) for image, counts in task.image_digests.items()}
    for shard in shards:
        nodes = []
        for state in shard.nodes:
            if not state.superseded and state.result and not state.result.succeeded and state.result.retryable:
                taken.append(NodeState(state.name, state.uid, earlier=(*state.earlier, state.result)))
                reasons.subtract(image.problem.reason.value for image in state.result.images if image.problem)
                for image in state.result.images:
                    if image.digest:
                        digests[image.image][image.digest] -= 1
                nodes.append(NodeState(state.name, state.uid, state.result, superseded=True, earlier=state.earlier))
            else:
                nodes.append(state)
        if any(new is not old for new, old in zip(nodes, shard.nodes, strict=True)):
            changed.append(Shard(shard.attempt, shard.index, tuple(nodes)))
    taken.sort(key=lambda state: state.name)
    again = {state.name for state in taken}
    started = task.model_copy(
        update={
            "status": TaskStatus.RUNNING,
            "pending_reason": None,
            "not_before": None,
            "started_at": task.started_at or now,
            "attempt": task.attempt + 1,
            "failed_nodes": task.failed_nodes - len(taken),
            "failed_node_details": tuple(line for line in task.failed_node_details if line.node_name not in again),
            "failure_reasons": {reason: count for reason, count in reasons.items() if count > 0},
            "image_digests": {image: dict(+counts) for image, counts in digests.items() if +counts},
        }
    )
    started = _attempt(started, len(taken))
    return started, cut(started, taken), tuple(changed)


def fail(task: Task, message: str, now: datetime) -> Task:
    """Return the task failed as a whole, with `message` saying why."""
    return finish(task, TaskStatus.FAILED, now, message)


def wait_for(task: Task, reason: PendingReason) -> Task:
    """Return the task pending for `reason`; the same object if it is so already."""
    if task.status is TaskStatus.PENDING and task.pending_reason is reason:
        return task
    return task.model_copy(update={"status": TaskStatus.PENDING, "pending_reason": reason, "not_before": None})


def _attempt(task: Task, nodes: int) -> Task:
    return task.model_copy(
        update={
            "attempt_nodes": nodes,
            "batches": -(-nodes // task.batch_nodes),
            "opened": 0,
            "open_batches": (),
        }
    )


def _nothing_to_do(plan: Plan) -> str:
    if not plan.excluded:
        return "no node matches the selector"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(plan.excluded.items()))
    return f"no node that matches the selector can be prewarmed: {reasons}"
