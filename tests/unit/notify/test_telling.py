"""Every way a task can end is told, whatever gets lost on the way."""

import json
from datetime import datetime, timedelta
from functools import partial

import pytest

from ips_common.cancel import cancel
from ips_common.cluster.memory import not_found
from ips_common.errors import ClusterRefused
from ips_common.finishing import NOTICE_PATIENCE
from ips_common.models.task import Task, TaskStatus
from ips_common.models.webhook import WebhookState
from ips_common.ports.webhook import Reply
from ips_common.webhook.memory import MemoryCourier
from tests.unit.notify.telling import URL, TellingWorld

MISSING = "registry.example/missing:1"
AT_ONCE = timedelta(seconds=1)


def told(world: TellingWorld, within: timedelta = AT_ONCE) -> list[str]:
    """The types of the events that were received, each so soon after the end it tells."""
    events = [json.loads(call.body) for call in world.courier.calls]
    for event, call in zip(events, world.courier.calls, strict=True):
        assert call.at - datetime.fromisoformat(event["time"]) <= within
    return [str(event["type"]) for event in events]


def test_a_completed_task_is_told_once_and_at_once() -> None:
    world = TellingWorld(nodes=5)
    task = world.create(batchSize=2, webhookUrl=URL)
    assert not world.track()
    assert told(world) == ["ips.task.completed"]
    assert world.webhook(task).state is WebhookState.DELIVERED
    assert json.loads(world.courier.calls[0].body)["data"]["progress"]["completedNodes"] == 5


def test_a_failed_task_is_told() -> None:
    world = TellingWorld()
    world.cluster.broken[MISSING] = not_found(MISSING)
    world.create(images=[MISSING], webhookUrl=URL)
    world.track()
    assert told(world) == ["ips.task.failed"]


def test_a_task_that_fails_fast_is_told() -> None:
    world = TellingWorld(nodes=4)
    world.cluster.broken[MISSING] = not_found(MISSING)
    world.create(images=[MISSING], batchSize=1, failFast=True, webhookUrl=URL)
    world.track()
    assert told(world) == ["ips.task.failed"]


def test_only_the_last_attempt_is_told() -> None:
    world = TellingWorld(nodes=2)
    world.cluster.stuck.add("node-0")
    task = world.create(maxRetries=1, retryDelaySeconds=5, timeoutSeconds=60, webhookUrl=URL)
    world.at(61, partial(world.cluster.expire, "node-0"))
    world.at(62, world.cluster.stuck.clear)
    world.track()
    assert world.task(task.task_id).attempt == 1
    assert told(world) == ["ips.task.completed"]


def test_a_cancelled_task_is_told_once_however_often_it_is_cancelled() -> None:
    world = TellingWorld(nodes=3)
    world.cluster.stuck.update({"node-0", "node-1", "node-2"})
    task = world.create(webhookUrl=URL)

    def stop() -> None:
        cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)

    world.at(5, stop)
    world.at(8, stop)
    world.track()
    assert told(world) == ["ips.task.cancelled"]
    assert world.webhook(task).state is WebhookState.DELIVERED


def test_a_task_cancelled_before_it_began_is_told() -> None:
    world = TellingWorld()
    world.cluster.away = True
    task = world.create(webhookUrl=URL)
    assert task.status is TaskStatus.PENDING
    cancel(task.task_id, store=world.store, bus=world.bus, clusters=world.clusters, now=world.now)
    world.track()
    assert told(world) == ["ips.task.cancelled"]


def test_a_task_with_nothing_to_do_is_told() -> None:
    world = TellingWorld(nodes=2)
    done = world.create(webhookUrl=URL)
    world.track()
    assert world.task(done.task_id).status is TaskStatus.COMPLETED
    empty = world.create(nodeSelector={"pool": "none"}, webhookUrl=URL)
    assert empty.status is TaskStatus.FAILED
    world.track()
    assert told(world) == ["ips.task.completed", "ips.task.failed"]


def test_a_task_whose_cluster_refuses_is_told() -> None:
    world = TellingWorld()
    world.cluster.refusal = ClusterRefused("no rights", status=403, reason="Forbidden")
    task = world.create(webhookUrl=URL)
    assert task.status is TaskStatus.FAILED
    world.track()
    assert told(world) == ["ips.task.failed"]


def test_without_a_webhook_nothing_is_told() -> None:
    world = TellingWorld()
    task = world.create()
    world.track()
    assert not world.told_at
    assert world.task(task.task_id).webhook is None


# --- losses


def test_a_lost_notification_is_sent_again_by_the_tracker() -> None:
    world = TellingWorld(lose=1)
    task = world.create(webhookUrl=URL)
    assert not world.track()
    assert told(world, within=timedelta(minutes=3)) == ["ips.task.completed"]
    finished_at = world.task(task.task_id).finished_at
    assert finished_at
    assert world.told_at[0] >= finished_at + NOTICE_PATIENCE


def test_a_tracker_does_not_stay_for_a_receiver_that_is_away() -> None:
    world = TellingWorld(courier=MemoryCourier(*[Reply(503, "the receiver answered 503")] * 10_000))
    task = world.create(webhookUrl=URL)
    began = world.now
    assert not world.track()
    assert world.now - began < timedelta(seconds=60)
    assert world.webhook(task).state is WebhookState.PENDING
    assert not world.store.open_tasks("default")


def test_once_pubsub_has_it_the_tracker_leaves_it_alone() -> None:
    world = TellingWorld(lose=2)
    task = world.create(webhookUrl=URL)
    assert not world.track()
    assert world.webhook(task).sent_at is not None
    assert not world.told_at
    assert not world.store.open_tasks("default")


def test_a_bus_that_is_away_delays_the_telling_only() -> None:
    world = TellingWorld(nodes=1)
    task = world.create(webhookUrl=URL)

    world._deliver()  # the batch's message
    world.bus.down = True
    world.at(120, partial(setattr, world.bus, "down", False))
    assert not world.track()
    assert told(world, within=timedelta(minutes=3)) == ["ips.task.completed"]
    assert world.webhook(task).state is WebhookState.DELIVERED


def test_a_creator_that_died_right_after_the_end_is_made_up_for() -> None:
    world = TellingWorld(nodes=0)
    task = world.create(webhookUrl=URL)
    assert task.status is TaskStatus.FAILED
    world.bus.take_notifications()  # died before publishing
    assert not world.track()
    assert told(world, within=timedelta(minutes=3)) == ["ips.task.failed"]


@pytest.mark.parametrize("failures", [1, 7])
def test_a_receiver_that_was_away_is_told_when_it_is_back(failures: int) -> None:
    courier = MemoryCourier(*[Reply(503, "the receiver answered 503")] * failures)
    world = TellingWorld(courier=courier)
    task: Task = world.create(webhookUrl=URL)
    world.create(timeoutSeconds=600, batchSize=1)
    world.track()
    while world.events:
        world._pass_time(2)
    assert len(courier.calls) == failures + 1
    assert len({call.event_id for call in courier.calls}) == 1
    assert (world.webhook(task).state, world.webhook(task).attempts) == (WebhookState.DELIVERED, failures + 1)
