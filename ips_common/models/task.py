"""A task: what a caller asked for and how far it has come."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    field_serializer,
    field_validator,
    model_validator,
)

from ips_common.models.base import Model, UtcDatetime
from ips_common.models.image import Image, parse_image
from ips_common.models.label import LabelKey, LabelValue, SecretName
from ips_common.models.webhook import Webhook, WebhookUrl

MAX_IMAGES = 50
MAX_FAILED_NODE_DETAILS = 100
NODES_PER_SHARD = 100
"""Aim for a shard's size: 100 nodes of 50 images stay far below Firestore's 1 MiB a document."""


class RetryPolicy(StrEnum):
    """How the delay before a retry grows."""

    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class PullPolicy(StrEnum):
    """The container field `imagePullPolicy`."""

    IF_NOT_PRESENT = "IfNotPresent"
    ALWAYS = "Always"


class Mode(StrEnum):
    """Which workload pulls."""

    JOB = "job"
    DAEMONSET = "daemonset"


class PullStrategy(StrEnum):
    """How a pod makes the kubelet pull an image."""

    CONTAINER = "container"
    IMAGE_VOLUME = "imageVolume"


class TaskStatus(StrEnum):
    """The life of a task."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the task can never change again."""
        return self in {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}


class PendingReason(StrEnum):
    """What a pending task waits for."""

    SLOT = "slot"
    RETRY = "retry"
    CLUSTER = "cluster"


ClusterName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class TaskSpec(Model):
    """What a caller asks for: the body of `POST /api/v1/tasks`, and what is stored of it."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)

    images: tuple[Image, ...] = Field(
        min_length=1, max_length=MAX_IMAGES, strict=False, json_schema_extra={"uniqueItems": True}
    )
    """Image references, each once: `[registry[:port]/]repository[:tag][@digest]`."""
    batch_size: int = Field(default=10, ge=1, le=100)
    """Nodes that pull at the same time, in one batch."""
    node_selector: Mapping[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=64, json_schema_extra={"additionalProperties": False}
    )
    """Labels that a node must have, all of them; without any, every node is meant."""
    priority: int = Field(default=5, ge=1, le=10)
    """Order in which waiting tasks start: 10 first, among equals the oldest."""
    max_concurrent_batches: int = Field(default=1, ge=1, le=20)
    """Batches that pull at the same time; with 1 each waits for the one before."""
    max_retries: int = Field(default=0, ge=0, le=5)
    """Further attempts at nodes that failed for a passing reason, if the task falls short of its threshold."""
    retry_policy: RetryPolicy = Field(default=RetryPolicy.EXPONENTIAL, strict=False)
    """How the delay grows: n times as long before retry n, or doubled each time."""
    retry_delay_seconds: int = Field(default=30, ge=1, le=300)
    """Seconds before the first retry."""
    timeout_seconds: int = Field(default=600, ge=30, le=7200)
    """Seconds that one node may take for all images."""
    success_threshold: float = Field(default=0.9, ge=0, le=1)
    """Share of the nodes that must hold every image for the task to be `completed`."""
    fail_fast: bool = False
    """Whether to stop as soon as the threshold is out of reach."""
    pull_policy: PullPolicy = Field(default=PullPolicy.IF_NOT_PRESENT, strict=False)
    """`Always` asks the registry again for images that a node holds already."""
    skip_present: bool = True
    """Whether nodes that report every image already are left alone; never with `Always`."""
    mode: Mode = Field(default=Mode.JOB, strict=False)
    """What pulls: one Job a node, batch after batch, or one DaemonSet, on all nodes at once."""
    pull_strategy: PullStrategy = Field(default=PullStrategy.CONTAINER, strict=False)
    """How: a container of each image, or a volume of it, of which nothing runs (Kubernetes 1.35 and later)."""
    image_pull_secrets: tuple[SecretName, ...] = Field(default=(), max_length=20, strict=False)
    """Names of Secrets, in the namespace of the Jobs, with credentials for the registries."""
    webhook_url: WebhookUrl | None = None
    """Where to tell, signed, that the task has ended: an http or https URL."""
    cluster: ClusterName = "default"
    """Name of a configured cluster."""

    @field_validator("images")
    @classmethod
    def _distinct(cls, images: tuple[str, ...]) -> tuple[str, ...]:
        seen: dict[str, str] = {}
        for image in images:
            canonical = parse_image(image).canonical
            if canonical in seen:
                raise ValueError(f"{image} and {seen[canonical]} are the same image; name each image once")
            seen[canonical] = image
        return images

    @field_validator("node_selector")
    @classmethod
    def _frozen(cls, selector: Mapping[str, str]) -> Mapping[str, str]:
        return MappingProxyType(dict(selector))

    @field_serializer("node_selector")
    def _plain(self, selector: Mapping[str, str]) -> dict[str, str]:
        return dict(selector)

    @property
    def skips_present(self) -> bool:
        """Whether nodes that report every image get no Job; with `Always` they must ask the registry again."""
        return self.skip_present and self.pull_policy is not PullPolicy.ALWAYS


class FailedNode(Model):
    """One line of `failedNodeDetails`: an image that a node does not hold, and why."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    node_name: str
    """The node."""
    image: str
    """The image as the request named it."""
    reason: str
    """Why the node does not hold it, in a stable spelling."""
    message: str
    """Why, in the cluster's words."""
    retryable: bool
    """Whether another attempt may help."""
    timestamp: UtcDatetime
    """When it was settled."""


class OpenBatch(Model):
    """A batch whose Jobs may exist.

    Its message is sent when the batch opens and again while its Jobs do not appear: the batch is its own outbox.
    """

    number: int = Field(ge=1)
    opened_at: UtcDatetime
    sent_at: UtcDatetime | None = None
    sends: int = 0


class Task(Model):
    """A task as it is stored.

    Counts are over the nodes of the first attempt; they change in the same write as the nodes' results, so they
    always add up. `attempt` counts from 0 and is `currentRetry` for callers. `batches` numbers from 1 within an
    attempt; `opened` is how many of them were ever opened.
    """

    task_id: str
    spec: TaskSpec
    status: TaskStatus = TaskStatus.PENDING
    pending_reason: PendingReason | None = None
    not_before: UtcDatetime | None = None
    created_at: UtcDatetime
    started_at: UtcDatetime | None = None
    finished_at: UtcDatetime | None = None
    created_by: str | None = None
    request_id: str | None = None
    error_message: str | None = None

    total_nodes: int = 0
    completed_nodes: int = 0
    failed_nodes: int = 0
    skipped_nodes: int = 0
    lasting_failures: int = 0
    """Those of the failed nodes that no retry can help."""
    excluded_nodes: dict[str, int] = Field(default_factory=dict)
    image_digests: dict[str, dict[str, int]] = Field(default_factory=dict)
    failed_node_details: tuple[FailedNode, ...] = ()
    failure_reasons: dict[str, int] = Field(default_factory=dict)
    """Reason → images on nodes, over all failed nodes (the details stop at `MAX_FAILED_NODE_DETAILS`)."""

    attempt: int = 0
    attempt_nodes: int = 0
    batches: int = 0
    opened: int = 0
    open_batches: tuple[OpenBatch, ...] = ()
    cleanup: bool = False
    """Whether Jobs may be left in the cluster although the task, or its attempt, is over."""
    webhook: Webhook | None = None
    """The telling of the task's end, once it has ended and if somebody wants to hear."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if (self.pending_reason is not None) and self.status is not TaskStatus.PENDING:
            raise ValueError("only a pending task has a pending reason")
        return self

    @property
    def settled_nodes(self) -> int:
        """Nodes with a final result."""
        return self.completed_nodes + self.failed_nodes

    @property
    def is_daemonset(self) -> bool:
        """Whether one DaemonSet an attempt pulls, on all nodes at once."""
        return self.spec.mode is Mode.DAEMONSET

    @property
    def batch_nodes(self) -> int:
        """Nodes a batch has; those of a DaemonSet, all open at once, only divide the bookkeeping."""
        return NODES_PER_SHARD if self.is_daemonset else self.spec.batch_size

    @property
    def window(self) -> int:
        """Batches that may be open at the same time."""
        return self.batches if self.is_daemonset else self.spec.max_concurrent_batches

    @property
    def shard_size(self) -> int:
        """Nodes a shard holds: whole batches, about `NODES_PER_SHARD` nodes."""
        return self.batch_nodes * max(1, NODES_PER_SHARD // self.batch_nodes)

    def shard_of(self, batch: int) -> int:
        """The index of the shard that holds batch `batch`."""
        return (batch - 1) * self.batch_nodes // self.shard_size

    def slice_of(self, batch: int) -> slice:
        """Where in its shard's nodes batch `batch` lies; the last batch may be shorter."""
        start = (batch - 1) * self.batch_nodes
        stop = min(start + self.batch_nodes, self.attempt_nodes)
        offset = self.shard_of(batch) * self.shard_size
        return slice(start - offset, stop - offset)

    def batch_of(self, shard: int, position: int) -> int:
        """The number of the batch that the node at `position` of shard `shard` belongs to."""
        return (shard * self.shard_size + position) // self.batch_nodes + 1


def queue_order(task: Task) -> tuple[int, datetime]:
    """Sort key of waiting tasks: highest priority first, then oldest."""
    return (-task.spec.priority, task.created_at)
