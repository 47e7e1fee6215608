"""How tasks end, and what of it is stored and shown."""

from datetime import UTC, datetime, timedelta

import pytest

from ips_common.finishing import NOTICE_PATIENCE, delivered, finish, not_delivered, notifications, overdue, sent
from ips_common.models.task import OpenBatch, PendingReason, Task, TaskSpec, TaskStatus
from ips_common.models.view import TaskView
from ips_common.models.webhook import WebhookState
from ips_common.store.lifecycle import is_open
from ips_common.store.taskdoc import decode_task, encode_task

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = "https://hooks.example/ips?token=secret-token"
FINAL = [status for status in TaskStatus if status.final]


def running(webhook_url: str | None = URL) -> Task:
    return Task(
        task_id="task-1",
        spec=TaskSpec(images=("nginx",), webhook_url=webhook_url),
        status=TaskStatus.RUNNING,
        created_at=START,
        open_batches=(OpenBatch(number=1, opened_at=START),),
    )


def done() -> Task:
    return finish(running(), TaskStatus.COMPLETED, START)


@pytest.mark.parametrize("status", FINAL)
def test_the_end_leaves_nothing_open_and_names_its_event(status: TaskStatus) -> None:
    waiting = running().model_copy(
        update={"status": TaskStatus.PENDING, "pending_reason": PendingReason.RETRY, "not_before": START}
    )
    for before in (running(), waiting):
        task = finish(before, status, START, "why")
        assert (task.status, task.finished_at, task.error_message) == (status, START, "why")
        assert (task.open_batches, task.pending_reason, task.not_before) == ((), None, None)
        assert task.webhook
        assert task.webhook.event_id == f"task-1.{status.value}"
        Task.model_validate(task.model_dump())


def test_without_a_webhook_there_is_no_event() -> None:
    task = finish(running(None), TaskStatus.COMPLETED, START)
    assert task.webhook is None
    assert not notifications(task)
    assert not is_open(task)


def test_the_tracker_looks_after_a_notification_until_it_is_sent() -> None:
    task = done()
    assert is_open(task)
    assert not overdue(task, START + NOTICE_PATIENCE - timedelta(seconds=1))
    assert overdue(task, START + NOTICE_PATIENCE)
    settled = [
        sent(task, START),
        delivered(task, "task-1.completed", START),
        not_delivered(task, "task-1.completed", "no", START),
        not_delivered(task, "task-1.completed", "no", START, for_good=True),
    ]
    for after in settled:
        assert not is_open(after)
        assert not overdue(after, START + timedelta(days=1))
        assert not notifications(after)


def test_the_truth_wins_over_having_given_up() -> None:
    given_up = not_delivered(done(), "task-1.completed", "no", START, for_good=True)
    late = delivered(given_up, "task-1.completed", START)
    assert late.webhook
    assert (late.webhook.state, late.webhook.last_error) == (WebhookState.DELIVERED, None)


@pytest.mark.parametrize("event_id", ["task-1.failed", ""])
def test_news_of_another_event_change_nothing(event_id: str) -> None:
    task = done()
    assert delivered(task, event_id, START) is task
    assert not_delivered(task, event_id, "no", START) is task


def test_it_is_stored_as_it_is() -> None:
    for task in (done(), delivered(done(), "task-1.completed", START), running()):
        document = encode_task(task, timedelta(days=30))
        assert decode_task(document) == task
    assert encode_task(done(), timedelta(days=30))["openIn"] == "default"
    assert encode_task(sent(done(), START), timedelta(days=30))["openIn"] is None


def test_a_document_from_before_webhooks_is_read() -> None:
    document = encode_task(finish(running(None), TaskStatus.COMPLETED, START), timedelta(days=30))
    del document["webhook"]
    assert decode_task(document).webhook is None


def test_callers_see_how_far_it_has_come() -> None:
    task = not_delivered(done(), "task-1.completed", "the receiver answered 503", START)
    shown = TaskView.of(task, START).model_dump(mode="json", by_alias=True)
    assert shown["webhook"] == {
        "eventId": "task-1.completed",
        "state": "pending",
        "attempts": 1,
        "lastError": "the receiver answered 503",
        "deliveredAt": None,
    }
    assert TaskView.of(running(), START).webhook is None
