"""What `/metrics` shows."""

from dataclasses import replace
from math import inf

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ips_common.errors import StoreUnavailable
from ips_common.metrics import MAX_IMAGES, FiguresCollector, Metrics, families
from ips_common.models.results import Reason
from ips_common.ports.store import Figures
from ips_common.store.memory import MemoryStore
from tests.unit.api.conftest import START, TASKS, Api

EMPTY = Figures(tasks={}, duration_buckets={}, duration_sum={}, nodes={}, failures={}, images={}, active=0, queued=0)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(api: Api) -> Samples:
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.get_data(as_text=True))


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_names_and_labels_are_those_of_the_contract(api: Api) -> None:
    task_id = api.create()
    api.settle(task_id, api.pulled(), api.failed(), api.failed(Reason.UNAUTHORIZED))
    api.client.delete(f"{TASKS}/{task_id}")
    text = api.get("/metrics").get_data(as_text=True)

    types = {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")}
    assert types == {
        "prewarm_store_up": "gauge",
        "prewarm_tasks_total": "counter",
        "prewarm_task_duration_seconds": "histogram",
        "prewarm_nodes_processed_total": "counter",
        "prewarm_active_tasks": "gauge",
        "prewarm_queued_tasks": "gauge",
        "prewarm_pending_tasks": "gauge",
        "prewarm_slots": "gauge",
        "prewarm_slots_taken": "gauge",
        "prewarm_tracker_last_seen_timestamp_seconds": "gauge",
        "prewarm_queue_head_timestamp_seconds": "gauge",
        "prewarm_webhooks_total": "counter",
        "prewarm_images_total": "counter",
        "prewarm_failures_total": "counter",
        "prewarm_api_request_duration_seconds": "histogram",
    }
    assert "_created" not in text
    labels = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_sum", "_count"))
    }
    assert labels == {
        "prewarm_store_up": set(),
        "prewarm_tasks_total": {"status"},
        "prewarm_task_duration_seconds_bucket": {"status", "le"},
        "prewarm_nodes_processed_total": {"result"},
        "prewarm_active_tasks": set(),
        "prewarm_queued_tasks": set(),
        "prewarm_pending_tasks": {"reason"},
        "prewarm_slots": {"target_cluster"},
        "prewarm_slots_taken": {"target_cluster"},
        "prewarm_webhooks_total": {"result"},
        "prewarm_images_total": {"image"},
        "prewarm_failures_total": {"reason"},
        "prewarm_api_request_duration_seconds_bucket": {"method", "path", "status", "le"},
    }
    bounds = {dict(pairs)["le"] for name, pairs in parse(text) if name == "prewarm_task_duration_seconds_bucket"}
    assert {float(bound) for bound in bounds} == {30, 60, 120, 300, 600, 1200, 1800, 3600, inf}


def test_nothing_yet_is_zero_and_not_missing(api: Api) -> None:
    samples = scrape(api)

    for status in ("completed", "failed", "cancelled"):
        assert value(samples, "prewarm_tasks_total", status=status) == 0
        assert value(samples, "prewarm_task_duration_seconds_count", status=status) == 0
    for result in ("succeeded", "skipped", "failed"):
        assert value(samples, "prewarm_nodes_processed_total", result=result) == 0
    for result in ("delivered", "failed"):
        assert value(samples, "prewarm_webhooks_total", result=result) == 0
    for each in Reason:
        assert value(samples, "prewarm_failures_total", reason=each.value) == 0
    for reason in ("start", "slot", "retry", "cluster"):
        assert value(samples, "prewarm_pending_tasks", reason=reason) == 0


def test_tasks_are_counted_from_the_store() -> None:
    api = Api(store=MemoryStore(max_concurrent_tasks=1))
    cancelled, waiting = api.create(), api.create(images=["redis", "nginx:1.27"])
    api.settle(cancelled, api.pulled(), api.failed())
    api.pass_seconds(90)
    assert value(scrape(api), "prewarm_active_tasks") == 1
    assert value(scrape(api), "prewarm_queued_tasks") == 1

    api.client.delete(f"{TASKS}/{cancelled}")
    api.client.delete(f"{TASKS}/{waiting}")
    samples = scrape(api)

    assert value(samples, "prewarm_tasks_total", status="cancelled") == 2
    assert value(samples, "prewarm_nodes_processed_total", result="succeeded") == 1
    assert value(samples, "prewarm_nodes_processed_total", result="failed") == 1
    assert value(samples, "prewarm_failures_total", reason="ImageNotFound") == 1
    assert value(samples, "prewarm_images_total", image="nginx:1.27") == 2
    assert value(samples, "prewarm_images_total", image="redis") == 1
    assert value(samples, "prewarm_active_tasks") == 0
    assert value(samples, "prewarm_queued_tasks") == 0
    assert value(samples, "prewarm_task_duration_seconds_bucket", status="cancelled", le="120.0") == 2
    assert value(samples, "prewarm_task_duration_seconds_sum", status="cancelled") == pytest.approx(180)


def test_a_cluster_shows_its_queue_and_its_tracker() -> None:
    api = Api(store=MemoryStore(max_concurrent_tasks=1, clock=lambda: START))
    assert not any(name.endswith("_timestamp_seconds") for name, _ in scrape(api))
    api.create()
    api.pass_seconds(60)
    api.create()
    api.store.acquire_lease("default", "a tracker", None)

    samples = scrape(api)

    cluster = {"target_cluster": "default"}
    assert value(samples, "prewarm_slots", **cluster) == value(samples, "prewarm_slots_taken", **cluster) == 1
    assert value(samples, "prewarm_tracker_last_seen_timestamp_seconds", **cluster) == START.timestamp()
    assert value(samples, "prewarm_queue_head_timestamp_seconds", **cluster) == START.timestamp() + 60
    assert value(samples, "prewarm_pending_tasks", reason="slot") == 1
    assert value(samples, "prewarm_pending_tasks", reason="start") == 0


def test_duration_buckets_add_up() -> None:
    figures = replace(
        EMPTY,
        duration_buckets={"completed": {30.0: 2, 300.0: 1, inf: 4}},
        duration_sum={"completed": 20000.0},
    )
    family = next(family for family in families(figures) if family.name == "prewarm_task_duration_seconds")
    buckets = {
        sample.labels["le"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_bucket") and sample.labels["status"] == "completed"
    }

    assert buckets == {
        "30.0": 2,
        "60.0": 2,
        "120.0": 2,
        "300.0": 3,
        "600.0": 3,
        "1200.0": 3,
        "1800.0": 3,
        "3600.0": 3,
        "+Inf": 7,
    }


def test_images_are_bounded_to_those_most_asked_for() -> None:
    images = {f"image-{number:03d}": number for number in range(MAX_IMAGES + 20)}
    family = next(family for family in families(replace(EMPTY, images=images)) if family.name == "prewarm_images")

    shown = {sample.labels["image"] for sample in family.samples}
    assert len(shown) == MAX_IMAGES
    assert "image-119" in shown
    assert "image-019" not in shown


def test_requests_are_timed_by_route_and_not_by_path(api: Api) -> None:
    for task_id in ("a", "b"):
        api.get(f"{TASKS}/{task_id}")
    api.client.put(TASKS)
    api.get("/no/such/path")
    api.client.open("/health", method="BREW")

    samples = scrape(api)
    counts = {
        (labels["method"], labels["path"], labels["status"]): count
        for (name, pairs), count in samples.items()
        if name == "prewarm_api_request_duration_seconds_count" and (labels := dict(pairs))
    }
    assert counts == {
        ("GET", "/api/v1/tasks/{taskId}", "404"): 2,
        ("PUT", "unmatched", "405"): 1,
        ("GET", "unmatched", "404"): 1,
        ("other", "unmatched", "405"): 1,
    }


def test_figures_are_left_out_while_the_store_is_away(api: Api) -> None:
    api.get("/health")
    api.store.down = True

    samples = scrape(api)

    assert value(samples, "prewarm_store_up") == 0
    assert not any(name.startswith(("prewarm_tasks", "prewarm_active")) for name, _ in samples)
    assert any(name.startswith("prewarm_api_request_duration_seconds") for name, _ in samples)

    api.store.down = False
    assert value(scrape(api), "prewarm_store_up") == 1


def test_the_store_is_read_once_per_age() -> None:
    reads: list[int] = []

    def read() -> Figures:
        reads.append(1)
        return EMPTY

    fresh, cached = FiguresCollector(read, max_age=0), FiguresCollector(read, max_age=3600)
    for collector, expected in ((fresh, 3), (cached, 1)):
        reads.clear()
        for _ in range(3):
            list(collector.collect())
        assert len(reads) == expected


def test_an_unreadable_store_is_asked_again_at_the_next_scrape() -> None:
    answers: list[Figures | Exception] = [StoreUnavailable("gone"), EMPTY]

    def read() -> Figures:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    metrics = Metrics(read, max_age=3600)

    assert value(parse(metrics.text().decode()), "prewarm_store_up") == 0
    assert value(parse(metrics.text().decode()), "prewarm_store_up") == 1
