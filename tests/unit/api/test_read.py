"""Reading, listing and cancelling tasks."""

from typing import Any

import pytest

from ips_common.cluster.memory import MemoryCluster
from ips_common.models.results import Reason
from ips_common.models.task import TaskStatus
from ips_common.store.memory import MemoryStore
from tests.unit.api.conftest import TASKS, Api, fields, problem

NOT_IDS = ["none", "UPPER", "a" * 64, "-a", "%00", "a%2Fb", "..", "%F0%9F%90%B3", "%ff", "a_b"]


@pytest.mark.parametrize("task_id", NOT_IDS)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("rest", ["", "/nodes", "/gate"])
def test_what_is_no_task_is_not_found(api: Api, method: str, task_id: str, rest: str) -> None:
    answer = api.client.open(f"{TASKS}/{task_id}{rest}", method=method)

    assert answer.status_code == (405 if method == "DELETE" and rest and "%2F" not in task_id else 404)
    assert answer.content_type == "application/problem+json"


def test_a_task_shows_what_failed_and_what_was_pulled(api: Api) -> None:
    task_id = api.create()
    api.settle(task_id, api.pulled(), api.failed())

    task = api.task(task_id)

    assert task["progress"]["completedNodes"] == 1
    assert task["progress"]["percentage"] == 33.33
    assert task["failedNodeCount"] == 1
    assert task["failedNodeDetails"] == [
        {
            "nodeName": "node-1",
            "image": "nginx:1.27",
            "reason": "ImageNotFound",
            "message": "as the kubelet put it",
            "retryable": False,
            "timestamp": "2026-01-02T03:04:05Z",
        }
    ]
    assert task["imageDigests"] == {"nginx:1.27": {"sha256:aa": 1}}


def test_completion_is_estimated_from_the_tasks_own_pace(api: Api) -> None:
    task_id = api.create()
    assert api.task(task_id)["estimatedCompletion"] is None
    api.pass_seconds(60)
    api.settle(task_id, api.pulled())

    assert api.task(task_id)["estimatedCompletion"] == "2026-01-02T03:07:05Z"


class TestList:
    def test_is_newest_first(self, api: Api) -> None:
        ids = []
        for _ in range(3):
            ids.append(api.create())
            api.pass_seconds(1)

        page = api.get(TASKS).get_json()

        assert [task["taskId"] for task in page["tasks"]] == ids[::-1]
        assert (page["total"], page["limit"], page["offset"], page["nextPageToken"]) == (3, 10, 0, None)

    def test_shows_tasks_as_they_are_shown_alone(self, api: Api) -> None:
        task_id = api.create()

        assert api.get(TASKS).get_json()["tasks"] == [api.task(task_id)]

    def test_pages_by_token_show_every_task_once(self, api: Api) -> None:
        ids = set()
        for _ in range(5):
            ids.add(api.create())
            api.pass_seconds(1)

        seen, token = [], ""
        while token is not None:
            page = api.get(f"{TASKS}?limit=2&pageToken={token}").get_json()
            seen += [task["taskId"] for task in page["tasks"]]
            token = page["nextPageToken"]

        assert len(seen) == 5
        assert set(seen) == ids

    def test_pages_by_offset(self, api: Api) -> None:
        for _ in range(3):
            api.create()
            api.pass_seconds(1)

        page = api.get(f"{TASKS}?limit=2&offset=2").get_json()

        assert (len(page["tasks"]), page["total"], page["offset"]) == (1, 3, 2)

    def test_filters_by_status_and_cluster(self) -> None:
        api = Api(store=MemoryStore(max_concurrent_tasks=1), more_clusters=(MemoryCluster("other", 1),))
        running, waiting, other = api.create(), api.create(), api.create(cluster="other")

        def ids(query: str) -> set[str]:
            page = api.get(f"{TASKS}?{query}").get_json()
            found = {task["taskId"] for task in page["tasks"]}
            assert page["total"] == len(found)
            return found

        assert ids("status=pending") == {waiting}
        assert ids("status=running") == {running, other}
        assert ids("status=running&cluster=other") == {other}
        assert ids("status=&cluster=") == {running, waiting, other}

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("limit=0", {"limit": "must be at least 1"}),
            ("limit=101", {"limit": "must be at most 100"}),
            ("limit=ten", {"limit": "must be a whole number"}),
            ("limit=1.5", {"limit": "must be a whole number"}),
            ("limit=" + "9" * 5000, {"limit": "must be a whole number of a sensible size"}),
            ("offset=-1", {"offset": "must be at least 0"}),
            ("offset=10001", {"offset": "must be at most 10000"}),
            ("limit=1&limit=2", {"limit": "is given more than once"}),
            ("stauts=failed", {"stauts": "is not known; did you mean status?"}),
            ("page_token=x", {"page_token": "is not known; did you mean pageToken?"}),
            ("pageToken=bm90b3Vycw", {"pageToken": "is not a page token of this list"}),
            ("status=done&limit=x", {"status": "must be 'pending', 'running'", "limit": "must be a whole number"}),
        ],
    )
    def test_names_every_bad_parameter(self, api: Api, query: str, expected: dict[str, str]) -> None:
        found = fields(problem(api.get(f"{TASKS}?{query}"), 422, "invalid-request"))

        assert set(found) == set(expected)
        for name, message in expected.items():
            assert found[name].startswith(message)

    def test_takes_either_an_offset_or_a_token(self, api: Api) -> None:
        answer = api.get(f"{TASKS}?offset=1&pageToken=abc")

        (error,) = problem(answer, 422, "invalid-request")["errors"]
        assert error == {"field": "pageToken", "message": "give either offset or pageToken"}


class TestCancel:
    def test_ends_the_task_and_takes_its_jobs_away(self, api: Api) -> None:
        task_id = api.create()

        answer = api.client.delete(f"{TASKS}/{task_id}")

        assert answer.status_code == 200
        assert answer.get_json()["status"] == "cancelled"
        assert api.task(task_id)["status"] == "cancelled"
        assert not api.cluster.has_jobs(task_id)

    def test_once_more_is_harmless(self, api: Api) -> None:
        task_id = api.create()
        first = api.client.delete(f"{TASKS}/{task_id}")
        api.pass_seconds(5)

        again = api.client.delete(f"{TASKS}/{task_id}")

        assert (again.status_code, again.get_json()) == (200, first.get_json())

    @pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED])
    def test_a_finished_task_cannot_be_cancelled(self, api: Api, status: TaskStatus) -> None:
        task_id = api.create()
        api.change(task_id, status=status, finished_at=api.now)

        document = problem(api.client.delete(f"{TASKS}/{task_id}"), 409, "task-finished")

        assert status.value in document["detail"]

    def test_works_while_the_cluster_is_away(self, api: Api) -> None:
        task_id = api.create()
        api.cluster.away = True

        assert api.client.delete(f"{TASKS}/{task_id}").status_code == 200


class TestNodes:
    def test_shows_every_image_of_every_node(self, api: Api) -> None:
        task_id = api.create()
        api.settle(task_id, api.pulled(), api.failed(Reason.IMAGE_PULL_BACK_OFF))

        page = api.get(f"{TASKS}/{task_id}/nodes").get_json()

        pulled, failed, pending = page["nodes"]
        assert pulled == {
            "nodeName": "node-0",
            "status": "succeeded",
            "attempt": 0,
            "finishedAt": "2026-01-02T03:04:05Z",
            "images": [
                {
                    "image": "nginx:1.27",
                    "pulled": True,
                    "digest": "sha256:aa",
                    "reason": None,
                    "message": None,
                    "retryable": None,
                }
            ],
            "earlier": [],
        }
        assert failed["images"] == [
            {
                "image": "nginx:1.27",
                "pulled": False,
                "digest": None,
                "reason": "ImagePullBackOff",
                "message": "as the kubelet put it",
                "retryable": True,
            }
        ]
        assert (pending["status"], pending["images"], pending["finishedAt"]) == ("pending", [], None)
        assert page["nextPageToken"] is None

    def test_pages_show_every_node_once(self) -> None:
        api = Api(cluster=MemoryCluster("default", 7))
        task_id = api.create(batchSize=2)

        seen, token = [], ""
        while token is not None:
            page = api.get(f"{TASKS}/{task_id}/nodes?limit=3&pageToken={token}").get_json()
            seen += [node["nodeName"] for node in page["nodes"]]
            token = page["nextPageToken"]

        assert seen == [f"node-{number}" for number in range(7)]

    def test_filters_by_status(self, api: Api) -> None:
        task_id = api.create()
        api.settle(task_id, api.pulled(), api.failed())

        assert self._names(api, task_id, "succeeded") == ["node-0"]
        assert self._names(api, task_id, "failed") == ["node-1"]
        assert self._names(api, task_id, "pending") == ["node-2"]
        assert self._names(api, task_id, "skipped") == []
        assert self._names(api, task_id, "cancelled") == []

    def test_of_a_cancelled_task_without_a_result_are_cancelled(self, api: Api) -> None:
        task_id = api.create()
        api.settle(task_id, api.pulled())
        api.client.delete(f"{TASKS}/{task_id}")

        page = api.get(f"{TASKS}/{task_id}/nodes").get_json()

        assert [node["status"] for node in page["nodes"]] == ["succeeded", "cancelled", "cancelled"]
        assert self._names(api, task_id, "cancelled") == ["node-1", "node-2"]
        assert self._names(api, task_id, "pending") == []

    @pytest.mark.parametrize("query", ["status=done", "limit=501", "offset=1", "pageToken=!"])
    def test_bad_parameters_are_named(self, api: Api, query: str) -> None:
        task_id = api.create()

        document = problem(api.get(f"{TASKS}/{task_id}/nodes?{query}"), 422, "invalid-request")

        assert list(fields(document)) == [query.partition("=")[0]]

    def _names(self, api: Api, task_id: str, status: str) -> list[Any]:
        page = api.get(f"{TASKS}/{task_id}/nodes?status={status}").get_json()
        return [node["nodeName"] for node in page["nodes"]]
