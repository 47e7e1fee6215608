"""A cluster that does not answer holds up no request for long, and only few at a time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from queue import Queue
from threading import Event, Thread

import pytest
from werkzeug.test import TestResponse

from functions.api.bounded import CANCEL_SECONDS, PLAN_SECONDS, BoundedClusters
from ips_common.cluster.door import Door
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.errors import ClusterRefused, ClusterUnavailable
from ips_common.models.node import Node
from ips_common.ports.cluster import DELETE_SECONDS, READ_SECONDS
from tests.unit.api.conftest import TASKS, Api, problem

PLACES = 4


class HungCluster(MemoryCluster):
    """Answers nothing until a test ends the wait, as the end of a request's time does."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(name, size)
        self.hangs = True
        self.entered: Queue[float] = Queue()
        self.time_is_up = Event()

    def nodes(
        self, selector: Mapping[str, str], images: Collection[str] | None = None, *, timeout: float = READ_SECONDS
    ) -> Sequence[Node]:
        self._hang(timeout)
        return super().nodes(selector, images, timeout=timeout)

    def delete_jobs(
        self,
        task_id: str,
        *,
        batch: int | None = None,
        attempt: int | None = None,
        unfinished_only: bool = False,
        timeout: float = DELETE_SECONDS,
    ) -> None:
        self._hang(timeout)
        super().delete_jobs(task_id, batch=batch, attempt=attempt, unfinished_only=unfinished_only, timeout=timeout)

    def _hang(self, timeout: float) -> None:
        self.entered.put(timeout)
        if self.hangs:
            assert self.time_is_up.wait(30)
            raise ClusterUnavailable(f"cluster {self.name} did not answer in time")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hung() -> HungCluster:
    return HungCluster("default", 3)


@pytest.fixture
def api(hung: HungCluster, clock: Clock) -> Api:
    door = partial(Door, patience=0.01, clock=clock)
    return Api(deps={"clusters": BoundedClusters(MemoryClusters(hung, MemoryCluster("other", 2)), door=door)})


@contextmanager
def waiting(api: Api, hung: HungCluster, count: int) -> Iterator[list[TestResponse]]:
    """So many requests wait for the hung cluster inside; afterwards their time is up."""
    answers: list[TestResponse] = []
    threads = [Thread(target=lambda: answers.append(api.post())) for _ in range(count)]
    for thread in threads:
        thread.start()
        assert hung.entered.get(timeout=30) == PLAN_SECONDS
    try:
        yield answers
    finally:
        hung.time_is_up.set()
        for thread in threads:
            thread.join(30)


def test_a_request_waits_no_longer_than_its_share(api: Api, hung: HungCluster) -> None:
    assert PLAN_SECONDS < 10
    hung.time_is_up.set()

    answer = api.post()

    assert (answer.status_code, answer.get_json()["pendingReason"]) == (201, "cluster")
    assert hung.entered.get_nowait() == PLAN_SECONDS


def test_a_dry_run_says_that_the_cluster_is_away(api: Api, hung: HungCluster) -> None:
    hung.time_is_up.set()

    problem(api.post(query="?dryRun=true"), 503, "cluster-unavailable")
    assert hung.entered.get_nowait() == PLAN_SECONDS


def test_only_few_wait_for_a_cluster_at_a_time(api: Api, hung: HungCluster) -> None:
    with waiting(api, hung, PLACES) as answers:
        more = [api.post() for _ in range(5)]
        assert {(answer.status_code, answer.get_json()["pendingReason"]) for answer in more} == {(201, "cluster")}
        problem(api.post(query="?dryRun=true"), 503, "cluster-unavailable")
        assert hung.entered.empty()

    assert [answer.status_code for answer in answers] == [201] * PLACES


def test_another_cluster_is_served_meanwhile(api: Api, hung: HungCluster) -> None:
    with waiting(api, hung, PLACES):
        answer = api.post({"images": ["nginx"], "cluster": "other"})

    assert (answer.status_code, answer.get_json()["status"]) == (201, "running")


def test_a_cluster_that_has_not_answered_is_left_alone_for_a_while(api: Api, hung: HungCluster, clock: Clock) -> None:
    hung.time_is_up.set()
    api.post()
    assert hung.entered.qsize() == 1

    answers = [api.post(query="?dryRun=true") for _ in range(5)]

    assert hung.entered.qsize() == 1
    for answer in answers:
        problem(answer, 503, "cluster-unavailable")
        assert answer.headers["Retry-After"] == "5"

    clock.now += 5
    api.post()
    assert hung.entered.qsize() == 2


def test_then_one_request_finds_out_and_the_others_are_told_at_once(api: Api, hung: HungCluster, clock: Clock) -> None:
    hung.time_is_up.set()
    api.post()
    hung.entered.get_nowait()
    hung.time_is_up.clear()
    clock.now += 5

    with waiting(api, hung, 1):
        problem(api.post(query="?dryRun=true"), 503, "cluster-unavailable")
        assert hung.entered.empty()


@pytest.mark.parametrize("refuses", [False, True])
def test_a_cluster_that_answers_again_is_used_again(api: Api, hung: HungCluster, clock: Clock, refuses: bool) -> None:  # noqa: FBT001 - both
    hung.time_is_up.set()
    api.post()
    clock.now += 5
    hung.hangs = False
    hung.refusal = ClusterRefused("no", status=403, reason="Forbidden") if refuses else None

    answers = [api.post(query="?dryRun=true") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [502, 502] if refuses else [200, 200]


def test_cancelling_does_not_wait_for_a_hung_cluster_for_ever(api: Api, hung: HungCluster) -> None:
    hung.hangs = False
    task_id = api.create()
    hung.hangs = True
    hung.entered = Queue()
    hung.time_is_up.set()

    answers = [api.client.delete(f"{TASKS}/{task_id}") for _ in range(2)]

    assert [(answer.status_code, answer.get_json()["status"]) for answer in answers] == [(200, "cancelled")] * 2
    assert [hung.entered.get_nowait() for _ in range(hung.entered.qsize())] == [CANCEL_SECONDS]
