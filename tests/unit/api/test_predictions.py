"""Images that past tasks ask for most."""

import pytest

from functions.api.predictions import MAX_TASKS, predict
from ips_common.models.task import Task, TaskSpec
from ips_common.ports.store import TaskPage
from ips_common.store.memory import MemoryStore
from tests.unit.api.conftest import START, Api, fields, problem

PREDICTIONS = "/api/v1/predictions"


def test_images_are_in_the_order_of_how_often_they_were_asked_for(api: Api) -> None:
    for images in (["a", "b"], ["b"], ["b", "c"], ["c"]):
        api.create(images=images)
        api.pass_seconds(60)

    answer = api.get(f"{PREDICTIONS}?minCount=2")

    assert answer.status_code == 200
    assert answer.get_json() == {
        "days": 7,
        "minCount": 2,
        "tasks": 4,
        "truncated": False,
        "images": [
            {"image": "b", "count": 3, "lastRequestedAt": "2026-01-02T03:06:05Z", "clusters": ["default"]},
            {"image": "c", "count": 2, "lastRequestedAt": "2026-01-02T03:07:05Z", "clusters": ["default"]},
        ],
    }


def test_only_tasks_of_the_last_days_count(api: Api) -> None:
    api.create(images=["old"])
    api.pass_seconds(3 * 86400)
    api.create(images=["new"])

    recent = api.get(f"{PREDICTIONS}?days=2&minCount=1").get_json()
    all_of_them = api.get(f"{PREDICTIONS}?days=4&minCount=1").get_json()

    assert [image["image"] for image in recent["images"]] == ["new"]
    assert {image["image"] for image in all_of_them["images"]} == {"old", "new"}


def test_three_tasks_must_have_asked_unless_said_otherwise(api: Api) -> None:
    for _ in range(2):
        api.create()
    assert api.get(PREDICTIONS).get_json()["images"] == []

    api.create()
    assert [image["count"] for image in api.get(PREDICTIONS).get_json()["images"]] == [3]


@pytest.mark.parametrize("query", ["days=0", "days=91", "minCount=0", "minCount=x"])
def test_bad_parameters_are_named(api: Api, query: str) -> None:
    document = problem(api.get(f"{PREDICTIONS}?{query}"), 422, "invalid-request")

    assert list(fields(document)) == [query.partition("=")[0]]


class EndlessStore(MemoryStore):
    """Has always another page."""

    def list_tasks(self, **query: object) -> TaskPage:
        del query
        task = Task(task_id="t", spec=TaskSpec(images=("a",)), created_at=START)
        return TaskPage((task,) * 100, 10**6, "more")


def test_the_tasks_looked_at_are_bounded() -> None:
    found = predict(EndlessStore(), days=7, min_count=1, now=START)

    assert (found.tasks, found.truncated, found.images[0].count) == (MAX_TASKS, True, MAX_TASKS)
