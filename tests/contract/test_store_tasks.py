"""Creating, reading and listing tasks: the fake and Firestore alike."""

from datetime import timedelta
from functools import partial

import pytest

from ips_common.errors import Conflict, InvalidRequest, TaskNotFound
from ips_common.models.task import FailedNode, OpenBatch, PendingReason, TaskStatus
from ips_common.ports.store import IdempotencyKey, Store
from tests.contract.samples import START, at_once, finished, new_task, put, running, waiting

KEY = IdempotencyKey("k" * 255, "body-1")


def test_a_task_reads_back_as_it_was_written(store: Store) -> None:
    task = new_task(
        images=["r.example:5000/a/b@sha256:" + "0" * 64, "nginx:1.29"],
        node_selector={"topology.kubernetes.io/zone": "a", "empty": ""},
        image_pull_secrets=["s.1"],
        webhook_url="https://example.com/hook?a=b",
        success_threshold=1,
        not_before=START + timedelta(minutes=1),
        error_message="nothing \u0000 to see \U0001f40b",
        image_digests={"nginx:1.29": {"sha256:1f": 3, "": 1}},
        excluded_nodes={"NotReady": 2},
        failure_reasons={"ImageNotFound": 7},
        failed_node_details=(
            FailedNode(
                node_name="n",
                image="nginx:1.29",
                reason="DiskFull",
                message="full",
                retryable=True,
                timestamp=START,
            ),
        ),
        open_batches=(
            OpenBatch(number=1, opened_at=START, sent_at=START, sends=2),
            OpenBatch(number=2, opened_at=START),
        ),
    )
    assert store.create_task(task) == (task, True)
    assert store.task(task.task_id).task == task


@pytest.mark.parametrize("task_id", ["task-none", "", ".", "..", "__x__", "a/b", "a/b/c", "\x00", "\ud800", "x" * 2000])
def test_a_task_that_does_not_exist_is_not_found(store: Store, task_id: str) -> None:
    with pytest.raises(TaskNotFound):
        store.task(task_id)
    with pytest.raises(TaskNotFound):
        store.transition(task_id, lambda task: task)


def test_an_id_is_used_once(store: Store) -> None:
    store.create_task(new_task())
    with pytest.raises(Conflict):
        store.create_task(new_task())


def test_the_same_key_and_body_return_the_first_task(store: Store) -> None:
    first, second = new_task(1), new_task(2)
    assert store.create_task(first, KEY) == (first, True)
    assert store.create_task(second, KEY) == (first, False)
    assert store.list_tasks().tasks == (first,)


def test_the_same_key_returns_the_first_task_as_it_is_now(store: Store) -> None:
    store.create_task(new_task(1), KEY)
    cancelled = store.transition("task-0001", lambda task: finished(task, TaskStatus.CANCELLED)).task
    assert store.create_task(new_task(2), KEY) == (cancelled, False)


def test_a_key_can_be_asked_for_its_task(store: Store) -> None:
    assert store.keyed(KEY, START) is None
    first = new_task(1)
    store.create_task(first, KEY)

    assert store.keyed(KEY, START) == first
    assert store.keyed(IdempotencyKey("another", KEY.fingerprint), START) is None
    cancelled = store.transition("task-0001", lambda task: finished(task, TaskStatus.CANCELLED)).task
    assert store.keyed(KEY, START) == cancelled
    with pytest.raises(Conflict, match="another body"):
        store.keyed(IdempotencyKey(KEY.key, "body-2"), START)


def test_a_key_stands_for_its_task_for_a_day(store: Store) -> None:
    store.create_task(task := new_task(1), KEY)

    assert store.keyed(KEY, task.created_at + timedelta(hours=23)) == task
    assert store.keyed(KEY, task.created_at + timedelta(hours=25)) is None
    assert store.keyed(IdempotencyKey(KEY.key, "body-2"), task.created_at + timedelta(hours=25)) is None


def test_the_same_key_with_another_body_is_a_conflict(store: Store) -> None:
    store.create_task(new_task(1), KEY)
    with pytest.raises(Conflict, match="another body"):
        store.create_task(new_task(2), IdempotencyKey(KEY.key, "body-2"))
    assert store.list_tasks().total == 1


def test_a_key_stands_for_a_day(store: Store) -> None:
    first, late, later = new_task(1), new_task(24 * 3600), new_task(24 * 3600 + 1)
    store.create_task(first, KEY)
    assert store.create_task(late, KEY) == (first, False)
    assert store.create_task(later, KEY) == (later, True)
    assert store.create_task(new_task(24 * 3600 + 2), KEY) == (later, False)


def test_many_identical_requests_at_once_make_one_task(store: Store) -> None:
    outcomes = at_once([partial(store.create_task, new_task(number), KEY) for number in range(20)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len({outcome[0].task_id for outcome in outcomes if not isinstance(outcome, Exception)}) == 1
    assert sum(outcome[1] for outcome in outcomes if not isinstance(outcome, Exception)) == 1
    assert store.list_tasks().total == 1


def test_tasks_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    same_moment = [new_task(number).model_copy(update={"created_at": START}) for number in (7, 8, 9)]
    tasks = [*same_moment, *(new_task(number) for number in range(1, 5))]
    for task in tasks:
        store.create_task(task)
    newest_first = ["task-0004", "task-0003", "task-0002", "task-0001", "task-0009", "task-0008", "task-0007"]
    assert [task.task_id for task in store.list_tasks().tasks] == newest_first

    seen, token = [], None
    while True:
        page = store.list_tasks(limit=2, page_token=token)
        assert page.total == 7
        seen += [task.task_id for task in page.tasks]
        token = page.next_page_token
        if token is None:
            break
    assert seen == newest_first


def test_a_page_goes_on_where_the_one_before_ended_although_tasks_were_added(store: Store) -> None:
    for number in range(4):
        store.create_task(new_task(number))
    token = store.list_tasks(limit=2).next_page_token
    store.create_task(new_task(9))
    assert [task.task_id for task in store.list_tasks(limit=2, page_token=token).tasks] == ["task-0001", "task-0000"]


def test_an_offset_skips_tasks(store: Store) -> None:
    for number in range(4):
        store.create_task(new_task(number))
    page = store.list_tasks(limit=2, offset=3)
    assert [task.task_id for task in page.tasks] == ["task-0000"]
    assert (page.total, page.next_page_token) == (4, None)
    assert store.list_tasks(offset=4).tasks == ()


def test_lists_can_be_filtered(store: Store) -> None:
    for number in range(4):
        store.create_task(new_task(number, cluster="a" if number % 2 else "b"))
    store.transition("task-0001", lambda task: finished(task, TaskStatus.CANCELLED))

    def ids(**filters: object) -> list[str]:
        page = store.list_tasks(**filters)  # type: ignore[arg-type]  # the test's own names
        assert page.total == len(page.tasks)
        return [task.task_id for task in page.tasks]

    assert ids(cluster="a") == ["task-0003", "task-0001"]
    assert ids(status=TaskStatus.PENDING) == ["task-0003", "task-0002", "task-0000"]
    assert ids(status=TaskStatus.PENDING, cluster="a") == ["task-0003"]
    assert ids(status=TaskStatus.RUNNING) == []


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "e30",
        "W10",
        "WzFd",
        "bm90IGpzb24",
        "€",
        "WyJub3doZXJlIiwiYSJd",
        "WzAsMCwwXQ",
        "WyIyMDI2LTAxLTAyIiwiYS9iIl0",
        "1" * 5000,
    ],
)
def test_a_foreign_page_token_is_the_callers_error(store: Store, token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        store.list_tasks(page_token=token)
    assert [field.field for field in caught.value.fields] == ["pageToken"]


def test_open_tasks_are_those_the_tracker_has_to_look_after(store: Store) -> None:
    just_created, queued, ready_to_run, ended, to_clean, retrying, unreachable = (new_task(n) for n in range(7))
    put(store, just_created)
    put(store, waiting(queued))
    store.start(put(store, ready_to_run), running(ready_to_run), [], [])
    put(store, ended)
    store.transition(ended.task_id, lambda task: finished(task, TaskStatus.CANCELLED))
    put(store, to_clean)
    store.transition(to_clean.task_id, lambda task: finished(task, TaskStatus.CANCELLED, cleanup=True))
    put(store, retrying.model_copy(update={"pending_reason": PendingReason.RETRY}))
    put(store, unreachable.model_copy(update={"pending_reason": PendingReason.CLUSTER}))
    put(store, new_task(9, cluster="other"))
    assert [stored.task.task_id for stored in store.open_tasks("default")] == [
        just_created.task_id,
        ready_to_run.task_id,
        to_clean.task_id,
        retrying.task_id,
        unreachable.task_id,
    ]
    assert [stored.task.task_id for stored in store.open_tasks("other")] == ["task-0009"]
    assert list(store.open_tasks("none")) == []


def test_a_cleaned_up_task_is_open_no_more(store: Store) -> None:
    put(store, new_task())
    store.transition("task-0000", lambda task: finished(task, TaskStatus.CANCELLED, cleanup=True))
    [stored] = store.open_tasks("default")
    store.save(stored, stored.task.model_copy(update={"cleanup": False}))
    assert list(store.open_tasks("default")) == []


def test_the_queue_is_by_priority_and_then_by_age(store: Store) -> None:
    for number, priority in enumerate([1, 10, 5, 10, 5]):
        put(store, waiting(new_task(number, priority=priority)))
    put(store, new_task(5, priority=10))
    for other in ("a", "default-2"):
        put(store, waiting(new_task(len(other) + 5, priority=10, cluster=other)))
    ids = [stored.task.task_id for stored in store.queue("default", 10)]
    assert ids == ["task-0001", "task-0003", "task-0002", "task-0004", "task-0000"]
    assert [stored.task.task_id for stored in store.queue("default", 2)] == ids[:2]
    assert [stored.task.task_id for stored in store.queue("a", 10)] == ["task-0006"]
    assert list(store.queue("none", 10)) == []


def test_a_task_of_the_queue_can_be_written_back(store: Store) -> None:
    put(store, waiting(new_task()))
    [stored] = store.queue("default", 1)
    store.start(stored, running(stored.task), [], [])
    assert list(store.queue("default", 1)) == []
    assert store.task("task-0000").task.status is TaskStatus.RUNNING


def test_queued_counts_the_pending_tasks_of_a_cluster(store: Store) -> None:
    put(store, new_task(0))
    put(store, waiting(new_task(1)))
    put(store, new_task(2, cluster="other"))
    store.start(put(store, new_task(3)), running(new_task(3)), [], [])
    assert (store.queued("default"), store.queued("other"), store.queued("none")) == (2, 1, 0)
