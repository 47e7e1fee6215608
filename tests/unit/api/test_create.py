"""Creating tasks."""

import json
from datetime import datetime
from threading import Barrier, Thread
from typing import Any

import pytest

from ips_common.cluster.memory import MemoryCluster
from ips_common.errors import StoreUnavailable
from ips_common.models.image_rule import AllowedImages
from ips_common.models.message import BatchMessage, Kick
from ips_common.models.node import Node
from ips_common.models.task import TaskSpec
from ips_common.ports.store import StoredTask
from ips_common.store.memory import MemoryStore
from tests.unit.api.conftest import TASKS, Api, fields, problem


def test_a_task_is_answered_with_its_place_and_every_field_of_the_request(api: Api) -> None:
    request: dict[str, Any] = {
        "images": ["nginx:1.27", "ghcr.io/a/b@sha256:" + "0" * 64],
        "batchSize": 2,
        "nodeSelector": {},
        "priority": 7,
        "maxConcurrentBatches": 2,
        "maxRetries": 3,
        "retryPolicy": "linear",
        "retryDelaySeconds": 60,
        "timeoutSeconds": 900,
        "successThreshold": 0.5,
        "failFast": True,
        "pullPolicy": "Always",
        "skipPresent": False,
        "mode": "job",
        "pullStrategy": "container",
        "imagePullSecrets": ["registry"],
        "webhookUrl": "https://example.com/hook",
        "cluster": "default",
    }
    assert set(request) == {field.alias for field in TaskSpec.model_fields.values()}

    answer = api.post(request)

    task = answer.get_json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{TASKS}/{task['taskId']}"
    assert {name: task[name] for name in request} == request
    assert task["status"] == "running"
    assert task["createdAt"] == "2026-01-02T03:04:05Z"
    assert task["createdBy"] is None
    assert task["progress"] == {
        "totalNodes": 3,
        "completedNodes": 0,
        "failedNodes": 0,
        "skippedNodes": 0,
        "currentBatch": 2,
        "totalBatches": 2,
        "percentage": 0.0,
    }
    assert api.task(task["taskId"]) == task


def test_what_is_left_out_of_the_request_is_answered_with_its_default(api: Api) -> None:
    task = api.post({"images": ["nginx"]}).get_json()

    assert (task["batchSize"], task["priority"], task["cluster"], task["webhookUrl"]) == (10, 5, "default", None)


def test_the_first_batch_is_published_with_the_request_id(api: Api) -> None:
    api.post({"images": ["nginx"], "batchSize": 1}, headers={"X-Request-Id": "release-42"})

    batch, kick = api.bus.published
    assert isinstance(batch, BatchMessage)
    assert (batch.batch, batch.request_id) == (1, "release-42")
    assert isinstance(kick, Kick)


def test_a_task_waits_for_a_slot_with_that_reason() -> None:
    api = Api(store=MemoryStore(max_concurrent_tasks=1))
    api.create()

    waiting = api.task(api.create())

    assert (waiting["status"], waiting["pendingReason"]) == ("pending", "slot")


def test_a_task_is_accepted_although_the_cluster_is_away(api: Api) -> None:
    api.cluster.away = True

    answer = api.post()

    assert answer.status_code == 201
    assert (answer.get_json()["status"], answer.get_json()["pendingReason"]) == ("pending", "cluster")


def test_a_task_is_accepted_although_the_bus_is_away(api: Api) -> None:
    api.bus.down = True

    assert api.post().status_code == 201


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), RuntimeError("a bug")])
def test_once_stored_a_task_is_accepted_whatever_keeps_it_from_starting(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(stored: StoredTask, **ports: object) -> StoredTask:
        del stored, ports
        raise error

    api = Api(deps={"launch": fail})

    answer = api.post()

    assert answer.status_code == 201
    assert answer.get_json()["status"] == "pending"
    assert api.task(answer.get_json()["taskId"])["status"] == "pending"
    assert "task accepted but not started, the tracker will" in caplog.messages


def test_nothing_is_accepted_while_the_store_is_away(api: Api) -> None:
    api.store.down = True

    answer = api.post()

    problem(answer, 503, "store-unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_task_that_matches_no_node_has_failed_and_says_why(api: Api) -> None:
    task = api.post({"images": ["nginx"], "nodeSelector": {"pool": "none"}}).get_json()

    assert (task["status"], task["errorMessage"]) == ("failed", "no node matches the selector")


def test_too_many_waiting_tasks_are_refused_until_later() -> None:
    api = Api(store=MemoryStore(max_concurrent_tasks=1), max_pending_tasks=1)
    api.create()
    api.create()

    answer = api.post()

    problem(answer, 429, "too-many-tasks")
    assert int(answer.headers["Retry-After"]) > 0
    assert api.get(TASKS).get_json()["total"] == 2


def test_a_repeated_request_is_answered_however_many_tasks_wait() -> None:
    api = Api(store=MemoryStore(max_concurrent_tasks=1), max_pending_tasks=1)
    first = api.post(headers={"Idempotency-Key": "k"}).get_json()
    api.create()

    again = api.post(headers={"Idempotency-Key": "k"})

    assert (again.status_code, again.get_json()["taskId"]) == (200, first["taskId"])
    problem(api.post({"images": ["redis"]}, headers={"Idempotency-Key": "k"}), 422, "idempotency-key-reused")
    problem(api.post(headers={"Idempotency-Key": "new"}), 429, "too-many-tasks")


def test_one_cluster_that_is_full_does_not_keep_another_from_tasks() -> None:
    api = Api(
        store=MemoryStore(max_concurrent_tasks=1),
        more_clusters=(MemoryCluster("other", 1),),
        max_pending_tasks=1,
    )
    api.create()
    api.create()

    assert api.post({"images": ["nginx"], "cluster": "other"}).status_code == 201


def test_an_unknown_cluster_is_named_as_a_bad_field(api: Api) -> None:
    document = problem(api.post({"images": ["nginx"], "cluster": "elsewhere"}), 422, "invalid-request")

    assert fields(document) == {"cluster": "is not configured; there are: default"}


class TestDryRun:
    def test_shows_the_plan_and_stores_nothing(self, api: Api) -> None:
        api.cluster.add_node(Node("node-9", "uid-9", {}, ready=False))
        api.cluster.add_node(Node("node-8", "uid-8", {}, images=frozenset({"docker.io/library/nginx:1.27"})))

        answer = api.post({"images": ["nginx:1.27"], "batchSize": 2}, query="?dryRun=true")

        assert answer.status_code == 200
        assert answer.get_json() == {
            "dryRun": True,
            "cluster": "default",
            "totalNodes": 4,
            "totalBatches": 2,
            "batches": [{"number": 1, "nodes": ["node-0", "node-1"]}, {"number": 2, "nodes": ["node-2"]}],
            "skipped": ["node-8"],
            "excludedNodes": {"NotReady": 1},
        }
        assert api.get(TASKS).get_json()["total"] == 0
        assert api.bus.published == []

    def test_false_creates_the_task(self, api: Api) -> None:
        assert api.post(query="?dryRun=false").status_code == 201

    @pytest.mark.parametrize("value", ["", "maybe", "2"])
    def test_anything_else_creates_nothing(self, api: Api, value: str) -> None:
        document = problem(api.post(query=f"?dryRun={value}"), 422, "invalid-request")

        assert fields(document) == {"dryRun": "must be true or false"}
        assert api.get(TASKS).get_json()["total"] == 0

    def test_says_that_the_cluster_cannot_be_reached(self, api: Api) -> None:
        api.cluster.away = True

        problem(api.post(query="?dryRun=true"), 503, "cluster-unavailable")


class TestIdempotencyKey:
    def test_the_same_request_returns_the_first_task_and_creates_nothing(self, api: Api) -> None:
        first = api.post(headers={"Idempotency-Key": "release-1"})
        second = api.post(headers={"Idempotency-Key": "release-1"})

        assert (first.status_code, second.status_code) == (201, 200)
        assert second.get_json() == first.get_json()
        assert second.headers["Location"] == first.headers["Location"]
        assert api.get(TASKS).get_json()["total"] == 1

    def test_the_same_body_written_differently_is_the_same(self, api: Api) -> None:
        body = {"images": ["nginx"], "batchSize": 3}
        api.post(body, headers={"Idempotency-Key": "k"})

        again = api.client.post(
            TASKS,
            data=json.dumps(dict(reversed(body.items())), indent=3),
            content_type="application/json",
            headers={"Idempotency-Key": "k"},
        )

        assert again.status_code == 200

    def test_another_body_is_refused(self, api: Api) -> None:
        api.post({"images": ["nginx"]}, headers={"Idempotency-Key": "k"})

        answer = api.post({"images": ["redis"]}, headers={"Idempotency-Key": "k"})

        document = problem(answer, 422, "idempotency-key-reused")
        assert list(fields(document)) == ["Idempotency-Key"]
        assert api.get(TASKS).get_json()["total"] == 1

    def test_another_key_makes_another_task(self, api: Api) -> None:
        answers = [api.post(headers={"Idempotency-Key": key}) for key in ("a", "b")]

        assert [answer.status_code for answer in answers] == [201, 201]

    @pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel"])
    def test_a_key_that_is_none_is_named_as_a_bad_field(self, api: Api, key: str) -> None:
        document = problem(api.post(headers={"Idempotency-Key": key}), 422, "invalid-request")

        assert list(fields(document)) == ["Idempotency-Key"]

    def test_a_dry_run_leaves_the_key_unused(self, api: Api) -> None:
        api.post(query="?dryRun=true", headers={"Idempotency-Key": "k"})

        assert api.post({"images": ["redis"]}, headers={"Idempotency-Key": "k"}).status_code == 201

    def test_many_at_once_make_one_task(self, api: Api) -> None:
        together = Barrier(8)
        statuses: list[int] = []

        def post() -> None:
            together.wait()
            statuses.append(api.post(headers={"Idempotency-Key": "k"}).status_code)

        threads = [Thread(target=post) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(statuses) == [200] * 7 + [201]
        assert api.get(TASKS).get_json()["total"] == 1


def test_ids_sort_by_time(api: Api) -> None:
    first = api.create()
    api.pass_seconds(1)
    second = api.create()

    assert first < second
    assert datetime.strptime(first.split("-")[1], "%Y%m%d%H%M%S").replace(tzinfo=api.now.tzinfo)


class TestAllowedImages:
    @pytest.fixture
    def api(self) -> Api:
        return Api(deps={"allowed_images": AllowedImages(["ghcr.io/acme/**", "docker.io/library/nginx:1.*"])})

    @pytest.mark.parametrize("query", ["", "?dryRun=true"])
    @pytest.mark.parametrize("strategy", ["container", "imageVolume"])
    def test_others_are_named_whatever_pulls_them(self, api: Api, query: str, strategy: str) -> None:
        images = ["nginx:1.27", "redis", "ghcr.io/acme/a/b", "quay.io/x/y:1", "nginx"]

        document = problem(api.post({"images": images, "pullStrategy": strategy}, query=query), 422, "invalid-request")

        assert set(fields(document)) == {"images[1]", "images[3]", "images[4]"}
        assert fields(document)["images[1]"].startswith("docker.io/library/redis:latest is not allowed")
        assert api.get(TASKS).get_json()["total"] == 0

    def test_those_are_taken(self, api: Api) -> None:
        assert api.post({"images": ["nginx:1.27", "ghcr.io/acme/a/b@sha256:" + "0" * 64]}).status_code == 201

    def test_they_are_named_beside_what_else_is_wrong_with_the_request(self, api: Api) -> None:
        document = problem(api.post({"images": ["redis"], "cluster": "nowhere"}), 422, "invalid-request")

        assert set(fields(document)) == {"images[0]", "cluster"}
