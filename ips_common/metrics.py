"""Prometheus figures: tasks from the store, so right however many instances run, and this process's own requests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from time import monotonic

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ips_common.errors import TemporaryError
from ips_common.models.results import NodeStatus, Reason
from ips_common.models.task import PendingReason, TaskStatus
from ips_common.models.webhook import WebhookState
from ips_common.ports.store import ClusterFigures, Figures

DURATION_BUCKETS = (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Upper bounds of `prewarm_task_duration_seconds`."""
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of `prewarm_api_request_duration_seconds`; the last ones are long polls."""
MAX_IMAGES = 100
"""Images with a series of their own: those most asked for."""

CLUSTER_LABEL = "target_cluster"
"""Not `cluster`, which Google's managed Prometheus sets on every series to the cluster that it scrapes in."""

_FINAL = tuple(status.value for status in TaskStatus if status.final)
_SETTLED = tuple(status.value for status in NodeStatus if status is not NodeStatus.PENDING)
_REASONS = tuple(reason.value for reason in Reason)
_WAITS = ("start", *(reason.value for reason in PendingReason))
_TOLD = tuple(state.value for state in WebhookState if state is not WebhookState.PENDING)


class FiguresCollector(Collector):
    """Figures of the store at scrape time, read at most once every `max_age` seconds.

    While the store cannot be read the figures are left out and `prewarm_store_up` is 0: old figures would look healthy,
    and failing the scrape would hide the request durations as well.
    """

    def __init__(self, read: Callable[[], Figures], *, max_age: float = 5.0) -> None:
        self._read = read
        self._max_age = max_age
        self._lock = Lock()
        self._figures: Figures | None = None
        self._read_at = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        figures = self._current()
        yield GaugeMetricFamily("prewarm_store_up", "Whether the task figures could be read.", value=bool(figures))
        if figures:
            yield from families(figures)

    def describe(self) -> Iterator[Metric]:
        """Yield nothing: registering must not read the store."""
        yield from ()

    def _current(self) -> Figures | None:
        with self._lock:
            if self._figures is None or monotonic() - self._read_at >= self._max_age:
                try:
                    self._figures = self._read()
                except TemporaryError:
                    self._figures = None
                self._read_at = monotonic()
            return self._figures


def families(figures: Figures) -> Iterator[Metric]:
    """Turn figures into metric families; known label values are always there, at 0 if nothing happened yet.

    A counter that appears with its first event would hide that event from `increase()`.
    """
    yield _counter("prewarm_tasks", "Finished tasks.", "status", {**dict.fromkeys(_FINAL, 0), **figures.tasks})
    yield _durations(figures)
    nodes = {**dict.fromkeys(_SETTLED, 0), **figures.nodes}
    yield _counter("prewarm_nodes_processed", "Nodes with a final result.", "result", nodes)
    yield GaugeMetricFamily("prewarm_active_tasks", "Running tasks.", value=figures.active)
    yield GaugeMetricFamily("prewarm_queued_tasks", "Pending tasks.", value=figures.queued)
    pending = {**dict.fromkeys(_WAITS, 0), **figures.pending}
    yield _gauge("prewarm_pending_tasks", "Pending tasks, by what they wait for.", "reason", pending)
    yield from _clusters(figures.clusters)
    top = sorted(figures.images.items(), key=lambda item: (-item[1], item[0]))[:MAX_IMAGES]
    yield _counter("prewarm_images", "Finished tasks that asked for an image.", "image", dict(top))
    failures = {**dict.fromkeys(_REASONS, 0), **figures.failures}
    yield _counter("prewarm_failures", "Images that a node does not hold, by reason.", "reason", failures)
    webhooks = {**dict.fromkeys(_TOLD, 0), **figures.webhooks}
    yield _counter("prewarm_webhooks", "Webhooks that were delivered, or given up.", "result", webhooks)


def _clusters(clusters: Mapping[str, ClusterFigures]) -> Iterator[Metric]:
    """Gauges of each cluster; a time that there is none of has no series."""
    slots = {name: float(figures.slots) for name, figures in clusters.items()}
    yield _gauge("prewarm_slots", "Tasks that may run at once.", CLUSTER_LABEL, slots)
    taken = {name: float(figures.slots_taken) for name, figures in clusters.items()}
    yield _gauge("prewarm_slots_taken", "Tasks that hold a slot.", CLUSTER_LABEL, taken)
    tracked = {name: at.timestamp() for name, figures in clusters.items() if (at := figures.tracked_at)}
    text = "Unix time at which the cluster's tracker was last heard of."
    yield _gauge("prewarm_tracker_last_seen_timestamp_seconds", text, CLUSTER_LABEL, tracked)
    since = {name: at.timestamp() for name, figures in clusters.items() if (at := figures.next_since)}
    text = "Unix time at which the task was accepted that is the next to get a slot."
    yield _gauge("prewarm_queue_head_timestamp_seconds", text, CLUSTER_LABEL, since)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family


def _durations(figures: Figures) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "prewarm_task_duration_seconds", "Seconds from a task's first start to its end.", labels=["status"]
    )
    for status in _FINAL:
        counts = figures.duration_buckets.get(status, {})
        buckets = [
            (_bound(bound), float(sum(count for upper, count in counts.items() if upper <= bound)))
            for bound in (*DURATION_BUCKETS, float("inf"))
        ]
        family.add_metric([status], buckets, figures.duration_sum.get(status, 0.0))
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)


class _Requests(Collector):
    """How long this process's answers took, without the `_created` series that the library adds to each."""

    def __init__(self) -> None:
        self._histogram = Histogram(
            "prewarm_api_request_duration_seconds",
            "Seconds this instance took to answer.",
            ["method", "path", "status"],
            buckets=REQUEST_BUCKETS,
            registry=None,
        )

    def observe(self, labels: Sequence[str], seconds: float) -> None:
        self._histogram.labels(*labels).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        for family in self._histogram.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """What `/metrics` shows, in a registry of its own, without figures of the process or the platform."""

    def __init__(self, read: Callable[[], Figures], *, max_age: float = 5.0) -> None:
        self._requests = _Requests()
        self._registry = CollectorRegistry()
        self._registry.register(FiguresCollector(read, max_age=max_age))
        self._registry.register(self._requests)

    def observe_request(self, *, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is a route's template, so that its values stay few."""
        self._requests.observe((method, path, str(status)), seconds)

    def text(self) -> bytes:
        """Return everything in the text exposition format."""
        return generate_latest(self._registry)
