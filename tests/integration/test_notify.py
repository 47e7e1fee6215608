"""Webhooks on the real parts: events that reach a server on this machine, or do not, and what the task says of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.parts import ROOT
from deploy.local.stack import Stack
from tests.integration.access import Tasks, until
from tests.unit.webhook.receiver import Receiver, Request, receiving, verify

SECRETS = ("integration-secret-new", "integration-secret-old")
TOKEN = "planted-token-4711"
ATTEMPTS = 5


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own, with less patience for receivers that fail."""
    content = yaml.safe_load((ROOT / "infra" / "topology.yaml").read_text())
    (pushes,) = (one for one in content["subscriptions"] if one["name"] == "ips-notifications-push")
    pushes["retry"] = {"minimumBackoffSeconds": 1, "maximumBackoffSeconds": 1}
    pushes["deadLetter"]["maxDeliveryAttempts"] = ATTEMPTS
    path = tmp_path_factory.mktemp("topology") / "topology.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def stack(topology: Path, emulators: dict[str, str], coverage_env: dict[str, str]) -> Iterator[Stack]:
    with Stack(
        nodes=3,
        topology=topology,
        emulators=emulators,
        env={
            **coverage_env,
            "IPS_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
            "IPS_WEBHOOK_ALLOWED_NETWORKS": "192.0.2.0/24",  # nobody's, in place of this machine's
        },
        function_env={"notify": {"IPS_WEBHOOK_SECRETS": ",".join(SECRETS)}},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def tasks(stack: Stack) -> Tasks:
    return Tasks(stack)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def settled(tasks: Tasks, task_id: str) -> Any:
    """Wait until the webhook's state is final; returns it."""

    def look() -> Any:
        webhook = tasks.get(task_id)["webhook"]
        return webhook if webhook and webhook["state"] != "pending" else None

    return until(look, f"the webhook of task {task_id} is settled", 60)


def checked(request: Request) -> Any:
    """The event of a request, which must be signed and whole."""
    assert all(verify(request, secret) for secret in SECRETS)
    assert request.headers["Content-Type"].startswith("application/cloudevents+json")
    event = json.loads(request.body)
    assert request.headers["X-IPS-Event-Id"] == event["id"]
    return event


@pytest.mark.parametrize(
    ("image", "status"),
    [
        ("registry.example/notify/a:1", "completed"),
        ("registry.example/notify/missing:1", "failed"),
        ("registry.example/notify/slow9:1", "cancelled"),
    ],
)
def test_each_end_is_told_once_and_signed(tasks: Tasks, receiver: Receiver, image: str, status: str) -> None:
    created = tasks.create(image, webhookUrl=receiver.url(f"/{status}?token={TOKEN}"))
    task_id = created["taskId"]
    assert created["webhook"] is None
    if status == "cancelled":
        until(lambda: tasks.get(task_id)["status"] == "running", "the task runs")
        assert tasks.cancel(task_id).status == 200
    webhook = settled(tasks, task_id)
    assert (webhook["state"], webhook["attempts"], webhook["lastError"]) == ("delivered", 1, None)
    assert webhook["deliveredAt"]
    (request,) = receiver.requests
    assert request.path == f"/{status}?token={TOKEN}"
    event = checked(request)
    assert (event["type"], event["subject"]) == (f"ips.task.{status}", task_id)
    assert event["id"] == webhook["eventId"]
    task = tasks.get(task_id)
    assert event["time"] == task["finishedAt"]
    assert {name: value for name, value in task.items() if name != "webhook"} == event["data"]


def test_a_task_with_nothing_to_do_is_told(tasks: Tasks, receiver: Receiver) -> None:
    task = tasks.create("registry.example/notify/b:1", nodeSelector={"no": "node"}, webhookUrl=receiver.url("/none"))
    assert task["status"] == "failed"
    assert settled(tasks, task["taskId"])["state"] == "delivered"
    assert checked(receiver.requests[0])["data"]["errorMessage"] == "no node matches the selector"


def test_a_receiver_that_fails_first_is_told_when_it_works(tasks: Tasks, receiver: Receiver) -> None:
    receiver.answers["/flaky"] = [503, 302]
    receiver.location = receiver.url("/elsewhere")
    task = tasks.create("registry.example/notify/c:1", webhookUrl=receiver.url("/flaky"))
    webhook = settled(tasks, task["taskId"])
    assert (webhook["state"], webhook["attempts"]) == ("delivered", 3)
    events = [checked(request) for request in receiver.at("/flaky")]
    assert len(events) == 3
    assert events[0] == events[1] == events[2]
    assert not receiver.at("/elsewhere")


def test_a_receiver_that_always_fails_is_given_up_and_the_task_says_so(tasks: Tasks, receiver: Receiver) -> None:
    receiver.always["/broken"] = 500
    task = tasks.create("registry.example/notify/d:1", webhookUrl=receiver.url("/broken"))
    webhook = settled(tasks, task["taskId"])
    assert webhook["state"] == "failed"
    assert webhook["attempts"] == ATTEMPTS == len(receiver.requests)
    assert webhook["lastError"] == (
        f"given up after {ATTEMPTS} deliveries: the receiver answered 500 Internal Server Error"
    )
    assert tasks.get(task["taskId"])["status"] == "completed"


def test_a_receiver_that_is_gone_is_called_once(tasks: Tasks, receiver: Receiver) -> None:
    receiver.always["/gone"] = 410
    task = tasks.create("registry.example/notify/e:1", webhookUrl=receiver.url("/gone"))
    webhook = settled(tasks, task["taskId"])
    assert (webhook["state"], webhook["attempts"]) == ("failed", 1)
    assert webhook["lastError"] == "the receiver answered 410 Gone"
    assert len(receiver.requests) == 1


def test_a_name_that_leads_where_nobody_may_go_is_never_called(tasks: Tasks, receiver: Receiver) -> None:
    # The receiver's address is allowed as such, the name that DNS gives for it is not.
    task = tasks.create("registry.example/notify/f:1", webhookUrl=receiver.url("/private", "localhost"))
    webhook = settled(tasks, task["taskId"])
    assert (webhook["state"], webhook["attempts"]) == ("failed", ATTEMPTS)
    assert webhook["lastError"].endswith("the receiver has a private, local or reserved address")
    assert not receiver.requests


def test_a_function_that_was_away_tells_what_it_missed(stack: Stack, tasks: Tasks, receiver: Receiver) -> None:
    task = tasks.create("registry.example/notify/h:1", webhookUrl=receiver.url("/late"))
    stack.kill("notify")
    stack.start("notify")
    assert settled(tasks, task["taskId"])["state"] == "delivered"
    assert len({checked(request)["id"] for request in receiver.requests}) == 1


def test_no_log_holds_what_only_the_receiver_should_know(stack: Stack, tasks: Tasks, receiver: Receiver) -> None:
    receiver.answers["/logged"] = [500]
    url = receiver.url(f"/logged?token={TOKEN}")
    settled(tasks, tasks.create("registry.example/notify/i:1", webhookUrl=url)["taskId"])
    for function in ("api", "batch", "tracker", "notify"):
        logs = stack.logs(function)
        assert logs
        assert TOKEN not in logs
        assert not any(secret in logs for secret in SECRETS)
    assert "webhook delivered" in stack.logs("notify")
