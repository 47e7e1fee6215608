"""One entry says that a task has ended, and how, wherever that happens: metrics and alerts count it."""

from typing import Any

import pytest

from ips_common.cancel import cancel
from ips_common.cluster.memory_workloads import not_found
from ips_common.errors import ClusterRefused
from tests.unit.world import World

IMAGE = "nginx:1.27"


def told(caplog: pytest.LogCaptureFixture, *fields: str) -> list[tuple[Any, ...]]:
    entries = [record.__dict__ for record in caplog.records if record.getMessage() == "task ended"]
    return [tuple(entry[field] for field in fields) for entry in entries]


@pytest.fixture(autouse=True)
def _listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def test_completed_by_the_tracker(caplog: pytest.LogCaptureFixture) -> None:
    world = World(nodes=3)
    task = world.create(batchSize=1)
    assert told(caplog, "status") == []
    world.track()
    assert told(caplog, "status", "taskId", "cluster", "completed", "failed") == [
        ("completed", task.task_id, "default", 3, 0)
    ]
    ended = world.task(task.task_id).finished_at
    assert ended
    assert told(caplog, "seconds") == [((ended - task.created_at).total_seconds(),)]


def test_failed_at_once_because_there_is_no_node(caplog: pytest.LogCaptureFixture) -> None:
    task = World(nodes=0).create()
    assert told(caplog, "status", "taskId") == [("failed", task.task_id)]


@pytest.mark.parametrize("fail_fast", [False, True])
def test_failed_below_the_threshold(caplog: pytest.LogCaptureFixture, *, fail_fast: bool) -> None:
    world = World(nodes=3)
    world.cluster.broken[IMAGE] = not_found(IMAGE)
    task = world.create(batchSize=1, failFast=fail_fast)
    world.track()
    assert told(caplog, "status", "failed", "error") == [("failed", 3, world.task(task.task_id).error_message)]


def test_failed_because_the_cluster_refuses(caplog: pytest.LogCaptureFixture) -> None:
    world = World(nodes=1)
    world.cluster.refusal = ClusterRefused("listing nodes is forbidden", status=403, reason="Forbidden")
    task = world.create()
    assert told(caplog, "status", "taskId") == [("failed", task.task_id)]


def test_a_retry_is_no_end(caplog: pytest.LogCaptureFixture) -> None:
    world = World(nodes=1)
    world.cluster.stuck.add("node-0")
    world.create(maxRetries=1, timeoutSeconds=30)
    world.at(31, lambda: world.cluster.expire("node-0"))
    world.at(32, world.cluster.stuck.clear)
    world.track()
    assert told(caplog, "status", "attempt") == [("completed", 1)]


def test_cancelled_however_often(caplog: pytest.LogCaptureFixture) -> None:
    world = World(nodes=1, auto=False)
    task = world.create()
    for _ in range(2):
        cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)
        world.at(1, lambda: None)
        world.track()
    assert told(caplog, "status", "taskId") == [("cancelled", task.task_id)]
