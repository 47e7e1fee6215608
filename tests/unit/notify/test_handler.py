"""One notification: what is posted, what is noted, and which ends mean that Pub/Sub is to deliver it again."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from functions.notify.handler import Outcome, notify
from functions.tracker.handler import bury_notification
from ips_common.errors import StoreUnavailable, TaskNotFound, TemporaryError
from ips_common.finishing import finish, notifications
from ips_common.models.message import Notification
from ips_common.models.task import Task, TaskSpec, TaskStatus
from ips_common.models.webhook import Webhook, WebhookState
from ips_common.ports.store import StoredTask
from ips_common.ports.webhook import Reply
from ips_common.store.memory import MemoryStore
from ips_common.webhook.memory import MemoryCourier

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = "https://hooks.example/ips?token=secret-token"
DOWN = Reply(503, "the receiver answered 503 Service Unavailable")
GONE = Reply(410, "the receiver answered 410 Gone")


class Clock:
    """A second passes between two looks."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def ended(status: TaskStatus = TaskStatus.COMPLETED, **fields: object) -> Task:
    spec = TaskSpec.model_validate({"images": ["nginx:1.27"], "webhookUrl": URL, **fields})
    task = Task(task_id="task-1", spec=spec, created_at=START, request_id="request-1", total_nodes=3, completed_nodes=3)
    return finish(task, status, START + timedelta(seconds=60), "3 nodes burnt" if status is TaskStatus.FAILED else None)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.create_task(ended())
    return store


def handle(store: MemoryStore, courier: MemoryCourier, event_id: str = "task-1.completed") -> Outcome:
    message = Notification(task_id="task-1", event_id=event_id)
    return notify(message, store=store, courier=courier, source="/projects/p/ips", clock=Clock())


def webhook(store: MemoryStore) -> Webhook:
    found = store.task("task-1").task.webhook
    assert found is not None
    return found


def test_a_delivered_event_is_noted(store: MemoryStore) -> None:
    courier = MemoryCourier()
    assert handle(store, courier) is Outcome.DELIVERED
    assert [(call.url, call.event_id) for call in courier.calls] == [(URL, "task-1.completed")]
    assert webhook(store) == Webhook(
        event_id="task-1.completed",
        state=WebhookState.DELIVERED,
        attempts=1,
        sent_at=START + timedelta(seconds=2),
        delivered_at=START + timedelta(seconds=2),
    )


def test_the_same_message_again_posts_nothing(store: MemoryStore) -> None:
    courier = MemoryCourier()
    handle(store, courier)
    assert handle(store, courier) is Outcome.OUTDATED
    assert len(courier.calls) == 1


def test_a_failure_is_noted_and_delivered_again(store: MemoryStore) -> None:
    courier = MemoryCourier(DOWN, Reply(0, "no connection to the receiver"))
    with pytest.raises(TemporaryError, match="503"):
        handle(store, courier)
    assert webhook(store).last_error == DOWN.problem
    assert (webhook(store).state, webhook(store).attempts) == (WebhookState.PENDING, 1)
    with pytest.raises(TemporaryError, match="no connection"):
        handle(store, courier)
    assert handle(store, courier) is Outcome.DELIVERED
    assert (webhook(store).attempts, webhook(store).last_error) == (3, None)
    assert len({(call.event_id, call.body) for call in courier.calls}) == 1


def test_a_receiver_that_is_gone_is_asked_no_more(store: MemoryStore) -> None:
    courier = MemoryCourier(GONE)
    assert handle(store, courier) is Outcome.UNWANTED
    assert (webhook(store).state, webhook(store).last_error) == (WebhookState.FAILED, GONE.problem)
    assert handle(store, courier) is Outcome.OUTDATED
    assert len(courier.calls) == 1


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500])
def test_no_other_answer_is_final(store: MemoryStore, status: int) -> None:
    with pytest.raises(TemporaryError):
        handle(store, MemoryCourier(Reply(status, "no")))
    assert webhook(store).state is WebhookState.PENDING


def test_what_is_noted_of_a_failure_is_bounded(store: MemoryStore) -> None:
    with pytest.raises(TemporaryError):
        handle(store, MemoryCourier(Reply(0, "x" * 5000)))
    assert len(webhook(store).last_error or "") == 300


def test_a_message_about_no_task_is_dropped() -> None:
    with pytest.raises(TaskNotFound):
        handle(MemoryStore(), MemoryCourier())


@pytest.mark.parametrize("event_id", ["task-1.failed", "task-2.completed", "x"])
def test_a_message_about_another_end_posts_nothing(store: MemoryStore, event_id: str) -> None:
    courier = MemoryCourier()
    assert handle(store, courier, event_id) is Outcome.OUTDATED
    assert not courier.calls


def test_a_task_without_a_webhook_posts_nothing() -> None:
    store = MemoryStore()
    store.create_task(ended(webhookUrl=None))
    courier = MemoryCourier()
    assert handle(store, courier) is Outcome.OUTDATED
    assert not courier.calls


# --- dying in between


class DyingStore(MemoryStore):
    """A store whose next write does not take place, as if the function had died."""

    dying = False

    def transition(self, task_id: str, change: Callable[[Task], Task]) -> StoredTask:
        if self.dying:
            self.dying = False
            raise StoreUnavailable("died before the write")
        return super().transition(task_id, change)


def test_death_between_posting_and_noting_posts_the_same_event_again() -> None:
    store = DyingStore()
    store.create_task(ended())
    store.dying = True
    courier = MemoryCourier()
    with pytest.raises(StoreUnavailable):
        handle(store, courier)
    assert handle(store, courier) is Outcome.DELIVERED
    first, second = courier.calls
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert webhook(store).state is WebhookState.DELIVERED


def test_death_before_a_failure_is_noted_forgets_only_the_count() -> None:
    store = DyingStore()
    store.create_task(ended())
    store.dying = True
    courier = MemoryCourier(DOWN)
    with pytest.raises(StoreUnavailable):
        handle(store, courier)
    assert handle(store, courier) is Outcome.DELIVERED
    assert webhook(store).attempts == 1


def test_two_deliveries_at_once_end_as_delivered(store: MemoryStore) -> None:
    class Racing(MemoryCourier):
        def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
            if not self.calls:
                super().deliver(url, event_id, body, at)
                handle(store, self)
                return DOWN
            return super().deliver(url, event_id, body, at)

    courier = Racing()
    with pytest.raises(TemporaryError):
        handle(store, courier)
    assert (webhook(store).state, webhook(store).attempts) == (WebhookState.DELIVERED, 1)
    assert handle(store, courier) is Outcome.OUTDATED


# --- dead letters


def bury(store: MemoryStore, event_id: str = "task-1.completed") -> None:
    bury_notification(Notification(task_id="task-1", event_id=event_id), 30, store=store)


def test_a_dead_letter_ends_it_with_the_last_reason(store: MemoryStore) -> None:
    with pytest.raises(TemporaryError):
        handle(store, MemoryCourier(DOWN))
    bury(store)
    assert webhook(store).state is WebhookState.FAILED
    assert webhook(store).last_error == f"given up after 30 deliveries: {DOWN.problem}"
    courier = MemoryCourier()
    assert handle(store, courier) is Outcome.OUTDATED
    assert not courier.calls


def test_a_dead_letter_of_what_was_never_tried_says_so(store: MemoryStore) -> None:
    bury(store)
    assert webhook(store).last_error == "given up after 30 deliveries: none was ever tried"


def test_a_dead_letter_changes_nothing_that_is_settled_or_another_event(store: MemoryStore) -> None:
    bury(store, "task-1.failed")
    assert webhook(store).state is WebhookState.PENDING
    handle(store, MemoryCourier())
    before = store.task("task-1")
    bury(store)
    assert store.task("task-1") == before


def test_a_dead_letter_of_no_task_is_dropped() -> None:
    store = MemoryStore()
    bury(store)
    with pytest.raises(TaskNotFound):
        store.task("task-1")


# --- the event


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_the_event_is_a_cloud_event_with_the_task(status: TaskStatus) -> None:
    store = MemoryStore()
    store.create_task(ended(status))
    courier = MemoryCourier()
    handle(store, courier, f"task-1.{status.value}")
    event = json.loads(courier.calls[0].body)
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": f"task-1.{status.value}",
        "source": "/projects/p/ips",
        "type": f"ips.task.{status.value}",
        "subject": "task-1",
        "time": "2026-01-02T03:05:05Z",
        "datacontenttype": "application/json",
    }
    assert (data["taskId"], data["status"]) == ("task-1", status.value)
    assert data["progress"]["completedNodes"] == 3
    assert data["errorMessage"] == ("3 nodes burnt" if status is TaskStatus.FAILED else None)
    assert "webhook" not in data
    assert "nodes" not in data


def test_the_message_names_what_it_is_about() -> None:
    assert notifications(ended()) == [
        Notification(task_id="task-1", event_id="task-1.completed", request_id="request-1")
    ]
