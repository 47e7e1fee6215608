"""The gate: the decision, and waiting for it."""

from itertools import pairwise
from threading import Event, Thread, get_ident
from time import monotonic
from typing import Any

import pytest

from functions.api.gate import GatePoller, GateState, GateView, decide
from ips_common.errors import StoreUnavailable, TaskNotFound
from ips_common.models.task import Task, TaskSpec, TaskStatus
from ips_common.ports.store import StoredTask
from ips_common.store.memory import MemoryStore
from tests.unit.api.conftest import START, TASKS, Api, fields, problem


def task(*, total: int = 10, completed: int = 0, failed: int = 0, lasting: int = 0, **fields: Any) -> Task:
    retries = fields.pop("max_retries", 0)
    return Task(
        task_id="task-1",
        spec=TaskSpec(images=("nginx",), max_retries=retries),
        created_at=START,
        **{
            "status": TaskStatus.RUNNING,
            "total_nodes": total,
            "completed_nodes": completed,
            "failed_nodes": failed,
            "lasting_failures": lasting,
            **fields,
        },
    )


@pytest.mark.parametrize(
    ("given", "minimum", "state"),
    [
        (task(completed=9), 0.9, GateState.OPEN),
        (task(completed=9), 0.95, GateState.WAITING),
        (task(completed=0), 0.0, GateState.OPEN),
        (task(total=3, completed=1), 1 / 3, GateState.OPEN),
        (task(completed=7, failed=2), 0.8, GateState.WAITING),
        (task(completed=7, failed=3), 0.8, GateState.SHUT),
        (task(failed=1), 1.0, GateState.SHUT),
        # A retry may still help, but not where a failure lasts or no retry is left.
        (task(failed=5, max_retries=1), 0.9, GateState.WAITING),
        (task(failed=5, lasting=2, max_retries=1), 0.9, GateState.SHUT),
        (task(failed=5, max_retries=1, attempt=1), 0.9, GateState.SHUT),
        (task(completed=9, failed=1, status=TaskStatus.COMPLETED), 0.95, GateState.SHUT),
        (task(completed=9, failed=1, status=TaskStatus.COMPLETED), 0.9, GateState.OPEN),
        (task(completed=9, status=TaskStatus.CANCELLED), 1.0, GateState.SHUT),
        (task(total=0, status=TaskStatus.PENDING), 0.0, GateState.WAITING),
        (task(total=0, status=TaskStatus.FAILED), 0.0, GateState.SHUT),
    ],
)
def test_the_gate_is_open_waiting_or_shut(given: Task, minimum: float, state: GateState) -> None:
    assert decide(given, minimum) is state


class TestAnswers:
    def test_200_once_enough_nodes_hold_every_image(self, api: Api) -> None:
        task_id = api.create()
        api.settle(task_id, api.pulled(), api.pulled(), api.failed())

        answer = api.get(f"{TASKS}/{task_id}/gate?min=0.6")

        assert answer.status_code == 200
        assert answer.get_json() == {
            "taskId": task_id,
            "state": "open",
            "share": 0.6667,
            "min": 0.6,
            "completedNodes": 2,
            "failedNodes": 1,
            "totalNodes": 3,
            "status": "running",
        }

    def test_202_while_they_still_may(self, api: Api) -> None:
        answer = api.get(f"{TASKS}/{api.create()}/gate")

        assert answer.status_code == 202
        assert (answer.get_json()["state"], answer.get_json()["min"]) == ("waiting", 0.95)
        assert answer.headers["Retry-After"] == "1"

    def test_409_when_they_no_longer_can(self, api: Api) -> None:
        task_id = api.create()
        api.settle(task_id, api.failed())

        document = problem(api.get(f"{TASKS}/{task_id}/gate?min=1&waitSeconds=30"), 409, "gate-shut")

        assert document["gate"]["state"] == "shut"

    @pytest.mark.parametrize("query", ["min=1.1", "min=-0.1", "min=nan", "min=x", "waitSeconds=-1", "waitSeconds=inf"])
    def test_bad_parameters_are_named(self, api: Api, query: str) -> None:
        document = problem(api.get(f"{TASKS}/{api.create()}/gate?{query}"), 422, "invalid-request")

        assert list(fields(document)) == [query.partition("=")[0]]

    def test_a_wait_ends_when_the_gate_opens(self, api: Api) -> None:
        task_id = api.create()
        opener = Thread(target=lambda: api.settle(task_id, api.pulled(), api.pulled(), api.pulled()))
        opener.start()

        answer = api.get(f"{TASKS}/{task_id}/gate?waitSeconds=30")

        opener.join()
        assert answer.status_code == 200

    def test_a_wait_ends_when_its_time_is_up(self, api: Api) -> None:
        assert api.get(f"{TASKS}/{api.create()}/gate?waitSeconds=0.05").status_code == 202

    def test_no_wait_is_longer_than_the_function_may_take(self) -> None:
        api = Api(deps={"gate_max_wait": 0.05})

        assert api.get(f"{TASKS}/{api.create()}/gate?waitSeconds=3600").status_code == 202


class ScriptedStore(MemoryStore):
    """Answers with what the test says, the last answer for ever, and remembers who read when."""

    def __init__(self, *answers: Task | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.reads: list[tuple[int, float]] = []
        self.third_read = Event()

    def task(self, task_id: str) -> StoredTask:
        del task_id
        self.reads.append((get_ident(), monotonic()))
        if len(self.reads) >= 3:
            self.third_read.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return StoredTask(answer, 1)


class TestPoller:
    def test_many_callers_share_one_look_per_interval(self) -> None:
        callers, interval = 10, 0.02
        store = ScriptedStore(*[task()] * (callers + 5), task(completed=10))
        poller = GatePoller(store, interval=interval, max_wait=60)
        views = list[GateView]()
        threads = [Thread(target=lambda: views.append(poller.wait("task-1", 1.0, 30))) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert [view.state for view in views] == [GateState.OPEN] * callers
        # Every caller reads once to begin with; all other reads are looks that they share.
        readers = [who for who, _ in store.reads]
        looks = [at for number, (who, at) in enumerate(store.reads) if who in readers[:number]]
        assert len(looks) > 1
        assert all(later - earlier >= interval for earlier, later in pairwise(looks))

    def test_callers_with_different_minimums_leave_when_theirs_is_reached(self) -> None:
        store = ScriptedStore(task(), task(), task(completed=5))
        poller = GatePoller(store, interval=0.01, max_wait=60)
        views: dict[float, GateView] = {}
        threads = [
            Thread(target=lambda share=share: views.update({share: poller.wait("task-1", share, 30)}))
            for share in (0.5, 1.0)
        ]
        for thread in threads:
            thread.start()
        threads[0].join(30)
        assert views[0.5].state is GateState.OPEN
        assert 1.0 not in views
        store.answers = [task(completed=10)]
        threads[1].join(30)
        assert views[1.0].state is GateState.OPEN

    def test_nobody_is_kept_waiting_by_a_process_that_is_to_end(self) -> None:
        told = iter([False, False, True])
        poller = GatePoller(ScriptedStore(task()), interval=0.01, max_wait=60, draining=lambda: next(told))

        assert poller.wait("task-1", 1.0, 30).state is GateState.WAITING

    def test_an_outage_of_the_store_is_waited_out(self) -> None:
        store = ScriptedStore(task(), StoreUnavailable("gone"), StoreUnavailable("gone"), task(completed=10))

        assert GatePoller(store, interval=0.01, max_wait=60).wait("task-1", 1.0, 30).state is GateState.OPEN

    def test_an_outage_that_lasts_is_told_in_the_end(self) -> None:
        store = ScriptedStore(task(), StoreUnavailable("gone"))

        with pytest.raises(StoreUnavailable):
            GatePoller(store, interval=0, max_wait=60).wait("task-1", 1.0, 0.05)

    def test_a_task_that_vanishes_ends_the_wait(self) -> None:
        store = ScriptedStore(task(), TaskNotFound("task-1"))

        with pytest.raises(TaskNotFound):
            GatePoller(store, interval=0.01, max_wait=60).wait("task-1", 1.0, 30)

    def test_too_many_waiters_are_answered_at_once(self) -> None:
        store = ScriptedStore(task())
        poller = GatePoller(store, interval=0.01, max_wait=60, max_waiters=1)
        first = Thread(target=lambda: poller.wait("task-1", 1.0, 30))
        first.start()
        assert store.third_read.wait(30)

        assert poller.wait("task-1", 1.0, 30).state is GateState.WAITING
        assert first.is_alive()

        store.answers = [task(completed=10)]
        first.join(30)
        assert poller.wait("task-1", 1.0, 30).state is GateState.OPEN

    def test_who_has_waited_makes_room_for_the_next(self) -> None:
        store = ScriptedStore(task())
        poller = GatePoller(store, interval=0.01, max_wait=60, max_waiters=1)
        assert poller.wait("task-1", 1.0, 0.03).state is GateState.WAITING

        store.answers = [task(), task(completed=10)]

        assert poller.wait("task-1", 1.0, 30).state is GateState.OPEN
