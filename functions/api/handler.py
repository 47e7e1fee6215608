"""The use cases of the API: what a request does, without a word of HTTP."""

import re
from dataclasses import dataclass

from functions.api.callers import Caller
from functions.api.deps import Deps
from ips_common.accept import accept
from ips_common.errors import TaskNotFound
from ips_common.launch import plan_only
from ips_common.models.node_view import CANCELLED, NodePageView, NodeView, PlannedBatch, PlanView
from ips_common.models.results import NodeStatus
from ips_common.models.task import Mode, TaskSpec, TaskStatus
from ips_common.models.view import TaskPageView, TaskView
from ips_common.ports.store import IdempotencyKey, StoredTask, TaskPage

_TASK_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Created:
    """The task, and whether it is new or the first one of the same idempotency key."""

    task: TaskView
    new: bool


def create(
    spec: TaskSpec, *, key: IdempotencyKey | None, caller: Caller, request_id: str | None, deps: Deps
) -> Created:
    """Store a task and start it if its turn has come.

    Raises:
        QueueFull: too many tasks wait already.
        Conflict: the idempotency key was used with another body.
    """
    accepted = accept(
        spec,
        key,
        created_by=caller.name,
        request_id=request_id,
        store=deps.store,
        bus=deps.bus,
        clusters=deps.clusters,
        max_pending_tasks=deps.max_pending_tasks,
        clock=deps.now,
        random_hex=deps.random_hex,
        start=deps.launch,
    )
    return Created(TaskView.of(accepted.task, deps.now()), accepted.new)


def dry_run(spec: TaskSpec, deps: Deps) -> PlanView:
    """Return what a task would do now; stores nothing.

    Raises:
        ClusterUnavailable: the nodes cannot be read now.
        ClusterRefused: the nodes may not be read.
    """
    plan = plan_only(spec, deps.clusters)
    size = spec.batch_size if spec.mode is Mode.JOB else max(1, len(plan.nodes))
    batches = tuple(
        PlannedBatch.model_construct(number=number, nodes=tuple(node.name for node in nodes))
        for number, nodes in enumerate(plan.batches(size), start=1)
    )
    return PlanView.model_construct(
        dry_run=True,
        cluster=spec.cluster,
        total_nodes=plan.total,
        total_batches=len(batches),
        batches=batches,
        skipped=tuple(node.name for node in plan.skipped),
        excluded_nodes=dict(plan.excluded),
    )


def find(task_id: str, deps: Deps) -> StoredTask:
    """Read a task.

    Raises:
        TaskNotFound: there is none.
    """
    return deps.store.task(checked(task_id))


def checked(task_id: str) -> str:
    """Return the id if it can be one: what cannot is not looked for.

    Raises:
        TaskNotFound: it cannot.
    """
    if not _TASK_ID.fullmatch(task_id):
        raise TaskNotFound(task_id[:63])
    return task_id


def read(task_id: str, deps: Deps) -> TaskView:
    """Return a task as it stands.

    Raises:
        TaskNotFound: there is none.
    """
    return TaskView.of(find(task_id, deps).task, deps.now())


def list_tasks(
    *, status: TaskStatus | None, cluster: str | None, limit: int, offset: int, page_token: str | None, deps: Deps
) -> TaskPageView:
    """Return a page of tasks, newest first.

    Raises:
        InvalidRequest: the page token is none of ours.
    """
    page: TaskPage = deps.store.list_tasks(
        status=status, cluster=cluster, limit=limit, offset=offset, page_token=page_token
    )
    now = deps.now()
    return TaskPageView.model_construct(
        tasks=tuple(TaskView.of(task, now) for task in page.tasks),
        total=page.total,
        limit=limit,
        offset=offset,
        next_page_token=page.next_page_token,
    )


def list_nodes(task_id: str, *, status: str | None, limit: int, page_token: str | None, deps: Deps) -> NodePageView:
    """Return a page of a task's nodes; those a cancelled task left unsettled are shown as cancelled.

    Raises:
        TaskNotFound: there is no such task.
        InvalidRequest: the page token is none of ours.
    """
    cancelled = find(task_id, deps).task.status is TaskStatus.CANCELLED
    unsettled = CANCELLED if cancelled else NodeStatus.PENDING.value
    if status in {CANCELLED, NodeStatus.PENDING.value} and status != unsettled:
        return NodePageView.model_construct(nodes=(), limit=limit, next_page_token=None)
    stored_status = NodeStatus.PENDING.value if status == CANCELLED else status
    page = deps.store.nodes(task_id, status=stored_status, limit=limit, page_token=page_token)
    return NodePageView.model_construct(
        nodes=tuple(NodeView.of(attempt, state, cancelled=cancelled) for attempt, state in page.nodes),
        limit=limit,
        next_page_token=page.next_page_token,
    )


def cancel(task_id: str, deps: Deps) -> TaskView:
    """Cancel a task; once more is harmless.

    Raises:
        TaskNotFound: there is no such task.
        TaskFinished: it has ended another way.
    """
    task = deps.cancel(checked(task_id), store=deps.store, bus=deps.bus, clusters=deps.clusters, now=deps.now())
    return TaskView.of(task, deps.now())
