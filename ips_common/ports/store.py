"""The store: tasks, shards, slots, leases and figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from ips_common.models.results import NodeState, Problem, Shard
from ips_common.models.task import Task, TaskStatus


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task and the version it was read at; writing it back demands that nobody wrote in between."""

    task: Task
    version: object


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A shard and the version it was read at."""

    shard: Shard
    version: object


KEY_LIFE = timedelta(hours=24)
"""How long an idempotency key stands for its first task, unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key, the fingerprint of the body it came with, and how long it stands for its task."""

    key: str
    fingerprint: str
    life: timedelta = KEY_LIFE


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of tasks, newest first; `total` counts all that match the filter."""

    tasks: tuple[Task, ...]
    total: int
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class NodePage:
    """One page of a task's nodes with the attempt each counts for."""

    nodes: tuple[tuple[int, NodeState], ...]
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What the batch function could not create: node name → problem.

    `refusal` is set when the API server refused every Job for want of rights: then no other batch would fare better.
    """

    attempt: int
    batch: int
    problems: Mapping[str, Problem]
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterFigures:
    """What `/metrics` shows of one cluster.

    `tracked_at` is when its tracker last took, renewed or released its lease: it does so at every tick, and every few
    seconds while it tracks. `next_since` is when the task was created that waits for a slot and is to start next.
    """

    slots: int
    slots_taken: int
    tracked_at: datetime | None = None
    next_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Counters over all tasks ever finished, and gauges of now; for `/metrics`."""

    tasks: Mapping[str, int]  # final status → tasks
    duration_buckets: Mapping[str, Mapping[float, int]]  # final status → upper bound in s → tasks, not cumulative
    duration_sum: Mapping[str, float]  # final status → seconds
    nodes: Mapping[str, int]  # node result → nodes
    failures: Mapping[str, int]  # reason → images on nodes
    images: Mapping[str, int]  # image → tasks
    active: int
    queued: int
    webhooks: Mapping[str, int] = field(default_factory=dict)  # delivered or failed → webhooks
    pending: Mapping[str, int] = field(default_factory=dict)  # what is waited for, `start` if nothing else → tasks
    clusters: Mapping[str, ClusterFigures] = field(default_factory=dict)  # those that were asked for


@dataclass(frozen=True, slots=True)
class Lease:
    """Who tracks a cluster; an empty holder released it."""

    holder: str
    version: object


class Store(Protocol):
    """Tasks, their shards, slots and leases. Every write is a compare-and-set or commutes.

    A slot is taken and given back in the same write that moves a task into and out of `running`, so none can leak; the
    figures of `figures()` are counted in the write that makes a task final, so each counts once.

    What is written comes back as it was, but for the messages of problems: they may be shortened, and if a shard has
    very many different ones, left out.
    """

    def create_task(self, task: Task, key: IdempotencyKey | None = None) -> tuple[Task, bool]:
        """Store a new task; returns it and True, or the first task of the same key, as it is now, and False.

        A key stands for its task for `life` from the task's creation, but no longer than the task is kept.

        Raises:
            Conflict: the key was used with another body, or the task's id was.
        """
        ...

    def keyed(self, key: IdempotencyKey, now: datetime) -> Task | None:
        """Return the task that the key stands for, as it is now; None if it stands for none at `now`.

        Raises:
            Conflict: the key was used with another body.
        """
        ...

    def task(self, task_id: str) -> StoredTask:
        """Read a task.

        Raises:
            TaskNotFound: there is none.
        """
        ...

    def list_tasks(
        self,
        *,
        status: TaskStatus | None = None,
        cluster: str | None = None,
        limit: int = 10,
        offset: int = 0,
        page_token: str | None = None,
    ) -> TaskPage:
        """List tasks, newest first.

        Raises:
            InvalidRequest: the page token is none of ours.
        """
        ...

    def open_tasks(self, cluster: str) -> Sequence[StoredTask]:
        """Return the tasks that need the tracker, oldest first.

        They run, wait for a retry or a cluster, have something to clean up or a notification to send, or are pending
        without a reason: created by somebody who has not started them yet, and may have died.
        """
        ...

    def queue(self, cluster: str, limit: int) -> Sequence[StoredTask]:
        """Return the first `limit` tasks waiting for a slot (`PendingReason.SLOT`), in the order they are to start."""
        ...

    def queued(self, cluster: str) -> int:
        """Count the pending tasks of the cluster."""
        ...

    def start(
        self, stored: StoredTask, task: Task, shards: Sequence[Shard], taken_over: Sequence[StoredShard]
    ) -> StoredTask:
        """Begin an attempt in one atomic write: the task, its new shards, the slot.

        `taken_over` are shards of earlier attempts, already changed, whose nodes are superseded. `task` may also be
        final at once (no node matched, all were present): then no slot is taken.

        Raises:
            SlotsFull: no slot is free; nothing was written.
            StaleVersion: the task or a shard was written by somebody else; nothing was written.
            TaskFinished: `task` would give a finished task another status.
            Contention: other tasks of the cluster kept starting or ending at the same moment; nothing was written.
        """
        ...

    def save(
        self, stored: StoredTask, task: Task, shards: Sequence[StoredShard] = ()
    ) -> tuple[StoredTask, Sequence[StoredShard]]:
        """Write a task and changed shards in one atomic write; returns them with their new versions.

        Raises:
            StaleVersion: the task or a shard was written by somebody else; nothing was written.
            TaskFinished: `task` would give a finished task another status.
            ValueError: `task` begins to run; that is for `start`, which takes a slot.
        """
        ...

    def transition(self, task_id: str, change: Callable[[Task], Task]) -> StoredTask:
        """Read, change and write a task until nobody comes between; `change` is pure and may run again.

        Returning the same object writes nothing.

        Raises:
            TaskNotFound: there is none.
            TaskFinished: `change` would give a finished task another status.
            Contention: others kept coming between.
            ValueError: as for `save`.
        """
        ...

    def shards(self, task_id: str, indexes: Sequence[tuple[int, int]]) -> Sequence[StoredShard]:
        """Read shards by (attempt, index), in the order asked; one that does not exist is left out."""
        ...

    def all_shards(self, task_id: str) -> Sequence[StoredShard]:
        """Read every shard of a task, in order of attempt and index."""
        ...

    def nodes(
        self, task_id: str, *, status: str | None = None, limit: int = 100, page_token: str | None = None
    ) -> NodePage:
        """List a task's nodes, each once, with the entry that counts; of one status (`NodeStatus`) if given.

        They come in order of attempt and then of the snapshot. What has no nodes, or does not exist, has an empty page.

        Raises:
            InvalidRequest: the page token is none of ours.
        """
        ...

    def report(self, task_id: str, report: BatchReport) -> None:
        """Keep what a batch could not create; the same batch again replaces it."""
        ...

    def reports(self, task_id: str, batches: Sequence[tuple[int, int]]) -> Sequence[BatchReport]:
        """Read the reports of (attempt, batch) pairs; a batch without one is left out."""
        ...

    def figures(self, clusters: Sequence[str] = ()) -> Figures:
        """Read the counters and gauges for `/metrics`, with those of the clusters that are named."""
        ...

    def lease(self, cluster: str) -> Lease | None:
        """Read who tracks the cluster, if anyone ever did."""
        ...

    def acquire_lease(self, cluster: str, holder: str, seen: Lease | None) -> Lease:
        """Take, renew (`seen.holder == holder`) or release (`holder == ""`) a lease last seen as `seen`.

        There are no times in it: a contender watches the version stand still for the lease's duration on its own clock,
        so skewed clocks cannot make two holders.

        Raises:
            StaleVersion: the lease is not as seen any more.
        """
        ...

    def ready(self, timeout: float) -> None:
        """Return when the store answers within `timeout` seconds, raise otherwise."""
        ...
