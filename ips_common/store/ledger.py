"""What finished tasks and told webhooks add to the figures."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from ips_common.models.task import Task
from ips_common.models.webhook import WebhookState
from ips_common.ports.store import ClusterFigures, Figures

BUCKETS = (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, inf)
"""Upper bounds of the duration histogram, in seconds."""

TOP_IMAGES = 100
"""Images that are told apart; with every image ever asked for, a label would have no bound."""


NO_REASON = "start"
"""What a pending task without a reason waits for: that whoever accepted it, or the tracker, starts it."""


@dataclass(slots=True)
class Ledger:
    """Sums over finished tasks; what one task adds is a ledger too."""

    tasks: Counter[str] = field(default_factory=Counter)
    durations: dict[str, Counter[float]] = field(default_factory=dict)  # status → upper bound → tasks
    seconds: dict[str, float] = field(default_factory=dict)  # status → sum of durations
    nodes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Ledger") -> None:
        """Add the sums of `other` to this ledger."""
        self.tasks.update(other.tasks)
        for status, buckets in other.durations.items():
            self.durations.setdefault(status, Counter()).update(buckets)
        for status, seconds in other.seconds.items():
            self.seconds[status] = self.seconds.get(status, 0.0) + seconds
        self.nodes.update(other.nodes)
        self.failures.update(other.failures)
        self.images.update(other.images)
        self.webhooks.update(other.webhooks)

    def figures(
        self, *, active: int, queued: int, waiting: Mapping[str, int], clusters: Mapping[str, ClusterFigures]
    ) -> Figures:
        """The ledger as what `/metrics` shows, with the gauges of now.

        Args:
            active: running tasks.
            queued: pending tasks.
            waiting: pending tasks by their reason, if they have one.
            clusters: gauges of single clusters.
        """
        return Figures(
            tasks=dict(self.tasks),
            duration_buckets={status: dict(buckets) for status, buckets in self.durations.items()},
            duration_sum=dict(self.seconds),
            nodes=dict(self.nodes),
            failures=dict(self.failures),
            images=dict(top_images(self.images, TOP_IMAGES)),
            active=active,
            queued=queued,
            webhooks=dict(self.webhooks),
            # The counts were not taken at the same moment, so the rest may be a task too few.
            pending=dict(+Counter({**waiting, NO_REASON: queued - sum(waiting.values())})),
            clusters=clusters,
        )


def top_images(images: Counter[str], count: int) -> Iterable[tuple[str, int]]:
    """The `count` images asked for most, ties in order of their names so that every reader shows the same."""
    return sorted(images.items(), key=lambda item: (-item[1], item[0]))[:count]


def entry(task: Task) -> Ledger:
    """What a finished task adds: its duration runs from its first start, or from its creation if it never started."""
    status = task.status.value
    ledger = Ledger(
        tasks=Counter({status: 1}),
        nodes=+Counter(
            succeeded=task.completed_nodes - task.skipped_nodes, skipped=task.skipped_nodes, failed=task.failed_nodes
        ),
        failures=+Counter(task.failure_reasons),
        images=Counter(task.spec.images),
    )
    if task.finished_at is not None:
        seconds = max(0.0, (task.finished_at - (task.started_at or task.created_at)).total_seconds())
        bucket = next(bound for bound in BUCKETS if seconds <= bound)
        ledger.durations[status] = Counter({bucket: 1})
        ledger.seconds[status] = seconds
    return ledger


def webhook_entry(before: Task | None, task: Task) -> Ledger | None:
    """What a change of a task adds by settling its webhook; None if it does not."""
    old = before.webhook.state if before and before.webhook else WebhookState.PENDING
    new = task.webhook.state if task.webhook else WebhookState.PENDING
    if new is old or new is WebhookState.PENDING:
        return None
    return Ledger(webhooks=Counter({new.value: 1}))
