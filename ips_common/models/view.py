"""What callers see of tasks: their wire form.

Kept apart from the stored models, so that either can change without the other. All are built from trusted records and
therefore not validated again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import ConfigDict

from ips_common.models.base import Model, UtcDatetime
from ips_common.models.task import (
    FailedNode,
    Mode,
    PendingReason,
    PullPolicy,
    PullStrategy,
    RetryPolicy,
    Task,
    TaskSpec,
    TaskStatus,
)
from ips_common.models.webhook import Webhook, WebhookState


class View(Model):
    """Base of all answers: every field is always there, null if it has no value."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True, use_attribute_docstrings=True)


class Progress(View):
    """How far a task has come, in nodes and batches."""

    total_nodes: int
    """Nodes the task is about; 0 until the task is planned."""
    completed_nodes: int
    """Nodes that hold every image."""
    failed_nodes: int
    """Nodes that are settled and lack at least one image."""
    skipped_nodes: int
    """Those of the completed nodes that already held every image."""
    current_batch: int
    """Highest batch opened so far; 0 before the first."""
    total_batches: int
    """Batches of the current attempt."""
    percentage: float
    """Completed nodes of all nodes, in percent."""


class WebhookView(View):
    """How far telling the caller's webhook has come."""

    event_id: str
    """The same for every delivery of the event."""
    state: WebhookState
    attempts: int
    """Deliveries tried so far."""
    last_error: str | None
    """Why the last delivery failed; null once one has succeeded."""
    delivered_at: UtcDatetime | None
    """When it was delivered; null until then."""

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookView":
        """Show a webhook."""
        return cls.model_construct(**{name: getattr(webhook, name) for name in cls.model_fields})


class TaskView(View):
    """A task with its request, progress and results."""

    task_id: str
    """The task's id."""
    status: TaskStatus
    pending_reason: PendingReason | None
    """What a pending task waits for."""
    retry_at: UtcDatetime | None
    """When a task that waits for a retry or for its cluster is tried again."""

    images: tuple[str, ...]
    batch_size: int
    node_selector: Mapping[str, str]
    priority: int
    max_concurrent_batches: int
    max_retries: int
    retry_policy: RetryPolicy
    retry_delay_seconds: int
    timeout_seconds: int
    success_threshold: float
    fail_fast: bool
    pull_policy: PullPolicy
    skip_present: bool
    mode: Mode
    pull_strategy: PullStrategy
    image_pull_secrets: tuple[str, ...]
    webhook_url: str | None
    cluster: str

    progress: Progress
    failed_node_count: int
    """Failed nodes in all, however many `failedNodeDetails` shows."""
    failed_node_details: tuple[FailedNode, ...]
    """Images that failed nodes lack, and why; the first 100."""
    image_digests: Mapping[str, Mapping[str, int]]
    """Image → digest → nodes that hold it."""
    excluded_nodes: Mapping[str, int]
    """Reason → nodes that match the selector and were left out."""
    current_retry: int
    """Retries so far; 0 in the first attempt."""
    created_at: UtcDatetime
    """When the task was accepted."""
    started_at: UtcDatetime | None
    """When it first began to run; null until then."""
    finished_at: UtcDatetime | None
    """When it ended; null until then."""
    estimated_completion: UtcDatetime | None
    """When a running task will be done if it goes on at its own pace; null until a node was pulled."""
    error_message: str | None
    """Why nothing could be done; null if something could."""
    created_by: str | None
    """The caller who created it; null if callers are not told apart."""
    webhook: WebhookView | None
    """The delivery of the task's end to `webhookUrl`; null until the task has ended, or if it has no webhook."""

    @classmethod
    def of(cls, task: Task, now: datetime) -> "TaskView":
        """Show a task as it stands at `now`."""
        request = {name: getattr(task.spec, name) for name in TaskSpec.model_fields}
        request["node_selector"] = dict(task.spec.node_selector)
        return cls.model_construct(
            task_id=task.task_id,
            status=task.status,
            pending_reason=task.pending_reason,
            retry_at=task.not_before,
            **request,
            progress=progress(task),
            failed_node_count=task.failed_nodes,
            failed_node_details=task.failed_node_details,
            image_digests=task.image_digests,
            excluded_nodes=task.excluded_nodes,
            current_retry=task.attempt,
            created_at=task.created_at,
            started_at=task.started_at,
            finished_at=task.finished_at,
            estimated_completion=estimated_completion(task, now),
            error_message=task.error_message,
            created_by=task.created_by,
            webhook=WebhookView.of(task.webhook) if task.webhook else None,
        )


def progress(task: Task) -> Progress:
    """Return how far the task has come."""
    most = 1 if task.is_daemonset else task.batches
    share = task.completed_nodes / task.total_nodes if task.total_nodes else 0.0
    return Progress.model_construct(
        total_nodes=task.total_nodes,
        completed_nodes=task.completed_nodes,
        failed_nodes=task.failed_nodes,
        skipped_nodes=task.skipped_nodes,
        current_batch=min(task.opened, most),
        total_batches=min(task.batches, most),
        percentage=round(share * 100, 2),
    )


def estimated_completion(task: Task, now: datetime) -> datetime | None:
    """Return when a running task will be done at its own pace so far.

    Skipped nodes settle at once and say nothing about the pace, so they do not count.
    """
    if task.status is not TaskStatus.RUNNING or task.started_at is None:
        return None
    pulled = task.settled_nodes - task.skipped_nodes
    if pulled <= 0:
        return None
    elapsed = max(now - task.started_at, timedelta())
    return now + elapsed * ((task.total_nodes - task.settled_nodes) / pulled)


class TaskPageView(View):
    """One page of tasks, newest first."""

    tasks: tuple[TaskView, ...]
    """The tasks, newest first."""
    total: int
    """Tasks that match the filter."""
    limit: int
    """Tasks on a page."""
    offset: int
    """Tasks that were skipped."""
    next_page_token: str | None
    """Give it as `pageToken` for the next page; null on the last."""
