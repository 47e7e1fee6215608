"""What the log says of a task: everything carries its ids, failed nodes have their reasons, severities are sober."""

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from functions.api.app import create_app
from functions.api.deps import Deps
from functions.batch.handler import create_batch
from functions.notify.handler import notify
from ips_common import push
from ips_common.bus.envelope import Delivery
from ips_common.cluster.memory_workloads import not_found
from ips_common.errors import StoreUnavailable
from ips_common.logs import JsonFormatter
from ips_common.models.message import BatchMessage, Notification
from ips_common.models.task import TaskStatus
from ips_common.ports.store import StoredTask
from ips_common.ports.webhook import Reply
from ips_common.webhook.memory import MemoryCourier
from tests.unit.world import JOBS, World

IMAGE = "registry.example/shop/web:1.27"


class Lines(logging.Handler):
    """Keeps every entry as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter("project", "some"))
        self.entries: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append(json.loads(self.format(record)))

    def said(self, message: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["message"] == message]


@pytest.fixture
def written() -> Iterator[Lines]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def test_failed_nodes_are_told_by_reason_as_they_fail(written: Lines) -> None:
    world = World(nodes=3)
    world.cluster.broken[IMAGE] = not_found(IMAGE)
    task = world.create(images=[IMAGE, "redis"], batchSize=2)

    world.track()

    told = written.said("nodes failed")
    assert [(entry["nodes"], entry["reasons"]) for entry in told] == [
        (2, {"ImageNotFound": 2}),
        (1, {"ImageNotFound": 1}),
    ]
    assert {entry["severity"] for entry in told} == {"WARNING"}
    assert {entry["logging.googleapis.com/labels"]["taskId"] for entry in told} == {task.task_id}
    assert [one for entry in told for one in entry["examples"]] == [
        {"node": f"node-{number}", "image": IMAGE, "reason": "ImageNotFound"} for number in range(3)
    ]


def test_a_task_that_is_given_up_says_why_its_nodes_failed(written: Lines) -> None:
    world = World(nodes=30)
    world.cluster.broken[IMAGE] = not_found(IMAGE)
    world.create(images=[IMAGE], batchSize=10, failFast=True)

    world.track()

    (told,) = written.said("nodes failed")
    assert told["reasons"]["ImageNotFound"] + told["reasons"]["NotAttempted"] == told["nodes"] == 30
    assert len(told["examples"]) == 5


def test_nodes_that_succeed_are_not_spoken_of(written: Lines) -> None:
    World(nodes=3).create()
    world = World(nodes=3)
    world.create()
    world.track()

    assert written.said("nodes failed") == []
    assert {entry["severity"] for entry in written.entries} == {"INFO"}


class Pushed(World):
    """A world in which messages reach functions as pushes, whose logging says what they are about."""

    def _create_batch(self, message: BatchMessage) -> None:
        world = self

        def handle(delivery: Delivery) -> None:
            assert isinstance(delivery.message, BatchMessage)
            create_batch(
                delivery.message,
                store=world.store,
                bus=world.bus,
                clusters=world.clusters,
                settings=JOBS,
                seconds_left=lambda: 60.0,
            )

        deliver(message, handle)

    def tell(self, courier: MemoryCourier) -> None:
        """Deliver every notification."""

        def handle(delivery: Delivery) -> None:
            assert isinstance(delivery.message, Notification)
            notify(delivery.message, store=self.store, courier=courier, source="/ips", clock=lambda: self.now)

        for message in self.bus.take_notifications():
            deliver(message, handle)


def deliver(message: BatchMessage | Notification, handle: Callable[[Delivery], None]) -> None:
    data = base64.b64encode(message.model_dump_json(by_alias=True).encode()).decode()
    body = json.dumps({"message": {"messageId": "1", "data": data}})
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    headers = [("traceparent", trace)]
    with Flask("test").test_request_context("/", method="POST", data=body, headers=headers) as context:
        assert push.receive(context.request, handle)[1] in {204, 503}


def test_the_id_of_the_request_is_in_every_entry_about_its_task(written: Lines) -> None:
    """A task that fails, from the HTTPS call through all functions to its webhook."""
    world = Pushed(nodes=2)
    world.cluster.broken[IMAGE] = not_found(IMAGE)
    deps = Deps(store=world.store, bus=world.bus, clusters=world.clusters, max_pending_tasks=9, now=lambda: world.now)
    client = create_app(deps).test_client()
    body = {"images": [IMAGE], "batchSize": 1, "webhookUrl": "https://hooks.example/"}

    answer = client.post("/api/v1/tasks", json=body, headers={"X-Request-Id": "ci-42"})
    world.track()
    world.tell(MemoryCourier(Reply(500, "answered 500")))
    task_id = answer.get_json()["taskId"]

    about = [entry for entry in written.entries if entry["message"] != "request answered"]
    assert {entry["message"] for entry in about} >= {
        "audit",
        "Jobs created",
        "nodes failed",
        "task ended",
        "message will be delivered again",
    }
    for entry in about:
        labels = entry["logging.googleapis.com/labels"]
        assert (labels.get("taskId"), labels.get("requestId")) == (task_id, "ci-42"), entry["message"]


def test_what_a_push_is_about_stands_in_its_entries_with_its_trace(written: Lines) -> None:
    world = Pushed(nodes=1, auto=False)
    world.create()
    world.track(seconds=5)

    (created,) = written.said("Jobs created")
    assert created["logging.googleapis.com/trace"] == f"projects/project/traces/{'ab' * 16}"
    assert created["logging.googleapis.com/spanId"] == "cd" * 8
    labels = created["logging.googleapis.com/labels"]
    assert (labels["batch"], labels["cluster"], created["messageId"]) == ("1", "default", "1")


@pytest.mark.parametrize(
    ("error", "severity"), [(StoreUnavailable("away"), "WARNING"), (ZeroDivisionError("a bug"), "ERROR")]
)
def test_only_a_bug_that_keeps_an_accepted_task_from_starting_is_an_error(
    written: Lines, error: Exception, severity: str
) -> None:
    def fail(stored: StoredTask, **ports: object) -> StoredTask:
        del stored, ports
        raise error

    world = World()
    deps = Deps(store=world.store, bus=world.bus, clusters=world.clusters, max_pending_tasks=9, launch=fail)
    answer = create_app(deps).test_client().post("/api/v1/tasks", json={"images": [IMAGE]})

    (told,) = written.said("task accepted but not started, the tracker will")
    assert told["severity"] == severity
    assert told["logging.googleapis.com/labels"]["taskId"] == answer.get_json()["taskId"]
    assert ("stack_trace" in told) == (severity == "ERROR")


def test_an_outage_is_told_once_a_task_and_so_is_its_end(written: Lines) -> None:
    world = World(nodes=1, auto=False)
    task = world.create()

    def away(*, down: bool) -> None:
        world.store.down = down

    world.at(2, lambda: away(down=True))
    world.at(3, lambda: world.cluster.finish("node-0"))
    world.at(30, lambda: away(down=False))
    world.track(seconds=60)

    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    (told,) = written.said("task cannot be moved on now, trying again")
    (over,) = written.said("task moves on again")
    assert (told["severity"], over["severity"]) == ("WARNING", "INFO")
    assert told["logging.googleapis.com/labels"]["taskId"] == task.task_id
    assert told["time"] < over["time"]
