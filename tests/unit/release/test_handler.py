"""From events to tasks: once each, whatever is delivered again or breaks off."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from ips_common.errors import (
    MalformedMessage,
    QueueFull,
    ReleaseNotFound,
    ReleasesUnavailable,
    StoreUnavailable,
    TemporaryError,
)
from ips_common.models.image_rule import AllowedImages
from ips_common.models.message import BatchMessage
from ips_common.models.task import PendingReason, TaskStatus
from ips_common.releases.memory import MemoryReleases
from ips_common.rules import DIGEST_LIFE
from ips_common.store.memory import MemoryStore
from tests.unit.release.conftest import Desk
from tests.unit.release.events import (
    CART,
    CART_DIGEST,
    RELEASE_NAME,
    WEB,
    WEB_DIGEST,
    Message,
    build,
    recorded,
    registry,
    release_answer,
    request,
)

PINNED = f"{WEB}@{WEB_DIGEST}"
PUSHED = registry(digest=PINNED)
TAGGED = registry(digest=PINNED, tag=f"{WEB}:1.2")


def said(caplog: pytest.LogCaptureFixture, sentence: str) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == sentence]


def test_an_event_becomes_a_task_that_starts() -> None:
    desk = Desk()
    (task,) = desk.receive(PUSHED, "17")
    assert (task.status, task.spec.images, task.spec.priority) == (TaskStatus.RUNNING, (PINNED,), 7)
    assert (task.created_by, task.request_id) == ("release:all", "17")
    assert isinstance(desk.bus.published[0], BatchMessage)
    assert desk.tasks == [task]


def test_a_digest_makes_one_task_however_it_is_announced() -> None:
    desk = Desk(releases=MemoryReleases({RELEASE_NAME: [f"{WEB}:1.2@{WEB_DIGEST}"]}))
    messages = [PUSHED, TAGGED, PUSHED, build((f"{WEB}:1.2", WEB_DIGEST)), recorded("cloud-deploy-release-rendered")]
    made = [desk.receive(message, str(index)) for index, message in enumerate(messages)]
    assert len(desk.tasks) == 1
    assert {task.task_id for tasks in made for task in tasks} == {desk.tasks[0].task_id}


def test_images_that_are_built_together_are_known_when_each_is_pushed() -> None:
    desk = Desk()
    desk.receive(registry(digest=f"{CART}@{CART_DIGEST}"))
    desk.receive(build((f"{WEB}:1", WEB_DIGEST), (f"{WEB}:2", WEB_DIGEST), (f"{CART}:1", CART_DIGEST)), "2")
    assert [task.spec.images for task in desk.tasks] == [(f"{CART}@{CART_DIGEST}",), (PINNED,)]


def test_a_tag_without_a_digest_counts_each_time_it_is_announced_and_once_each() -> None:
    desk = Desk()
    for message_id in ("1", "1", "2", "1"):
        desk.receive(registry(tag=f"{WEB}:latest"), message_id)
    assert len(desk.tasks) == 2


def test_a_digest_is_remembered_as_long_as_its_task_is_kept() -> None:
    desk = Desk()
    desk.receive(PUSHED)
    desk.now += DIGEST_LIFE - timedelta(seconds=3)
    desk.receive(PUSHED)
    assert len(desk.tasks) == 1


def test_a_release_of_cloud_deploy_is_looked_up() -> None:
    answer = [artifact["tag"] for artifact in release_answer()["buildArtifacts"]]
    desk = Desk(releases=MemoryReleases({RELEASE_NAME: answer}))
    desk.receive(recorded("cloud-deploy-release-rendered"))
    assert [task.spec.images for task in desk.tasks] == [
        (PINNED,),
        (f"{CART}@{CART_DIGEST}",),
        ("docker.io/envoyproxy/envoy:v1.36.2",),
    ]
    desk.receive(recorded("cloud-deploy-rollout-started"), "2")
    assert len(desk.tasks) == 3
    assert desk.releases.asked == [RELEASE_NAME, RELEASE_NAME]


def test_operations_that_mean_nothing_are_not_looked_up() -> None:
    desk = Desk()
    desk.receive(recorded("cloud-deploy-release-started"))
    desk.receive(recorded("cloud-deploy-job-terminated"))
    assert (desk.tasks, desk.releases.asked) == ([], [])


def test_a_release_that_cannot_be_looked_up_now_is_tried_again() -> None:
    desk = Desk()
    desk.releases.down = True
    with pytest.raises(ReleasesUnavailable):
        desk.receive(recorded("cloud-deploy-release-rendered"))
    with pytest.raises(ReleaseNotFound):
        Desk().receive(recorded("cloud-deploy-release-rendered"))


def test_an_event_that_no_rule_matches_is_logged_and_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk(rules=[{"name": "other", "images": ["gcr.io/other/*"]}])
    assert desk.receive(TAGGED) == []
    (entry,) = said(caplog, "no rule matches the release")
    assert entry.images == [PINNED]
    assert desk.tasks == []


def test_an_event_that_means_no_image_is_logged_and_done(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk()
    assert not desk.receive(recorded("artifact-registry-delete"))
    (entry,) = said(caplog, "release event means no image")
    assert entry.reason == "an image or a tag was deleted"
    assert desk.tasks == []


def test_every_rule_that_matches_makes_its_task() -> None:
    desk = Desk(
        rules=[
            {"name": "here", "images": [WEB]},
            {"name": "east", "images": [f"{WEB}:1.*"], "cluster": "east", "batchSize": 1},
        ]
    )
    desk.receive(TAGGED)
    assert [(task.created_by, task.spec.cluster, task.spec.batch_size) for task in desk.tasks] == [
        ("release:here", "default", 10),
        ("release:east", "east", 1),
    ]
    assert all(task.status is TaskStatus.RUNNING for task in desk.tasks)


def test_a_rule_for_tags_waits_for_the_tag() -> None:
    desk = Desk(rules=[{"name": "versions", "images": [f"{WEB}:1.*"]}])
    assert desk.receive(PUSHED) == []
    assert len(desk.receive(TAGGED, "2")) == 1


def test_what_may_not_be_pulled_makes_no_task_and_the_others_do(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(deps={"allowed_images": AllowedImages([CART])})
    tasks = desk.receive(build((f"{WEB}:1", WEB_DIGEST), (f"{CART}:1", CART_DIGEST)))
    assert [task.spec.images for task in tasks] == [(f"{CART}@{CART_DIGEST}",)]
    (entry,) = said(caplog, "rule makes no task")
    assert f"images[0]: {PINNED} is not allowed here" in entry.error


def test_a_task_request_is_taken_as_it_is_without_rules() -> None:
    desk = Desk(rules=[])
    (task,) = desk.receive(request({"requestId": "ci-4711"}, batchSize=2, cluster="east"), "5")
    assert (task.spec.images, task.spec.batch_size, task.spec.cluster) == (("nginx:1.27",), 2, "east")
    assert (task.created_by, task.request_id, task.status) == ("release", "ci-4711", TaskStatus.RUNNING)


def test_a_task_request_is_done_once_for_its_message_or_its_key() -> None:
    desk = Desk()
    for message_id in ("1", "1", "2"):
        desk.receive(request(), message_id)
    assert len(desk.tasks) == 2
    for message_id in ("3", "4"):
        desk.receive(request({"idempotencyKey": "k"}), message_id)
    assert len(desk.tasks) == 3


def test_a_key_that_was_used_for_another_request_is_the_publishers_mistake() -> None:
    desk = Desk()
    desk.receive(request({"idempotencyKey": "k"}))
    with pytest.raises(MalformedMessage, match="idempotencyKey: was used with another request"):
        desk.receive(request({"idempotencyKey": "k"}, batchSize=3), "2")
    assert len(desk.tasks) == 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cluster": "west"}, "cluster: is not configured; there are: default, east"),
        ({"images": ["evil.example/x"]}, r"images\[0\]: evil.example/x:latest is not allowed"),
        ({"webhookUrl": "http://169.254.169.254/"}, "webhookUrl: must not lead to a private"),
        ({"batchSize": 0}, "batchSize: "),
    ],
)
def test_a_task_request_that_asks_too_much_is_malformed(fields: dict[str, Any], told: str) -> None:
    desk = Desk(deps={"allowed_images": AllowedImages(["docker.io/**"])})
    with pytest.raises(MalformedMessage, match=told):
        desk.receive(request(**fields))
    assert desk.tasks == []


def test_a_cluster_that_is_away_keeps_its_tasks_waiting() -> None:
    desk = Desk()
    desk.cluster.away = True
    (task,) = desk.receive(PUSHED)
    assert (task.status, task.pending_reason) == (TaskStatus.PENDING, PendingReason.CLUSTER)


def test_with_a_full_queue_the_event_waits_and_what_there_is_stays_known() -> None:
    desk = Desk(deps={"max_pending_tasks": 1})
    desk.cluster.away = True
    desk.receive(PUSHED)
    with pytest.raises(QueueFull):
        desk.receive(registry(digest=f"{CART}@{CART_DIGEST}"), "2")
    assert [task.spec.images for task in desk.receive(PUSHED)] == [(PINNED,)]
    assert len(desk.tasks) == 1


def test_a_full_queue_of_one_cluster_is_in_nobody_elses_way() -> None:
    desk = Desk(
        rules=[{"name": "here", "images": ["**"]}, {"name": "east", "images": ["**"], "cluster": "east"}],
        deps={"max_pending_tasks": 1},
    )
    desk.cluster.away = True
    desk.receive(PUSHED)
    with pytest.raises(QueueFull):
        desk.receive(registry(digest=f"{CART}@{CART_DIGEST}"), "2")
    assert [(task.created_by, task.spec.images) for task in desk.tasks] == [
        ("release:here", (PINNED,)),
        ("release:east", (PINNED,)),
        ("release:east", (f"{CART}@{CART_DIGEST}",)),
    ]


class DyingStore(MemoryStore):
    """Takes so many tasks, then is away."""

    left = 1

    def create_task(self, *args: Any, **named: Any) -> Any:
        if self.left == 0:
            raise StoreUnavailable("told to be away")
        self.left -= 1
        return super().create_task(*args, **named)


def test_what_broke_off_is_completed_when_it_is_delivered_again() -> None:
    store = DyingStore()
    desk = Desk(store=store)
    event = build((f"{WEB}:1", WEB_DIGEST), (f"{CART}:1", CART_DIGEST))
    with pytest.raises(TemporaryError):
        desk.receive(event)
    assert [task.spec.images for task in desk.tasks] == [(PINNED,)]
    store.left = 5
    desk.receive(event)
    assert [task.spec.images for task in desk.tasks] == [(PINNED,), (f"{CART}@{CART_DIGEST}",)]


def test_a_task_that_could_not_be_started_is_accepted_all_the_same() -> None:
    desk = Desk()
    desk.bus.down = True
    (task,) = desk.receive(PUSHED)
    assert task.status is TaskStatus.RUNNING
    assert desk.receive(PUSHED) == [desk.tasks[0]]


@pytest.mark.parametrize(
    ("message_id", "attributes", "request_id"),
    [
        ("17", {}, "17"),
        ("17", {"requestId": "a b\n"}, "17"),
        ("x y", {}, None),
    ],
)
def test_only_a_sane_request_id_is_kept(message_id: str, attributes: dict[str, str], request_id: str | None) -> None:
    (task,) = Desk().receive(Message("gcr", PUSHED.data, attributes), message_id)
    assert task.request_id == request_id


def test_each_new_task_leaves_an_audit_entry(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk()
    desk.receive(PUSHED)
    desk.receive(PUSHED)
    (entry,) = said(caplog, "audit")
    assert (entry.action, entry.decision, entry.caller) == ("createTask", "allowed", "release:all")
    assert entry.taskId == desk.tasks[0].task_id
    assert len(said(caplog, "task was made before")) == 1


def test_deliveries_at_the_same_moment_make_one_task() -> None:
    desk = Desk()
    together = Barrier(8)

    def deliver(index: int) -> str:
        together.wait()
        return desk.receive(TAGGED if index % 2 else PUSHED, str(index))[0].task_id

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(deliver, range(8)))
    assert made == {task.task_id for task in desk.tasks}
    assert len(made) == 1
