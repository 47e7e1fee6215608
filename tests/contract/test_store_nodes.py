"""Shards, nodes and reports: the fake and Firestore alike."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ips_common.errors import InvalidRequest
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason, Shard
from ips_common.ports.store import BatchReport, Store, StoredShard
from tests.contract.samples import NO_ROOM, START, broken, new_shard, new_task, pulled, put, running

IMAGES = ("nginx:1.29", "redis:8")
NOT_FOUND = Problem(Reason.IMAGE_NOT_FOUND, "manifest unknown \U0001f40b", retryable=False)


def begin(store: Store, *shards: Shard) -> str:
    task = new_task(images=IMAGES)
    return store.start(put(store, task), running(task), shards, []).task.task_id


def mixed(at_seconds: int = 0) -> NodeResult:
    at = START + timedelta(seconds=at_seconds)
    images = (ImageResult(IMAGES[0], "sha256:1f"), ImageResult(IMAGES[1], problem=NOT_FOUND))
    return NodeResult(NodeStatus.FAILED, images, at)


def test_a_shard_reads_back_as_it_was_written(store: Store) -> None:
    nodes = (
        NodeState("pending", "uid-0"),
        NodeState("pulled", "uid-1", pulled(IMAGES)),
        NodeState("unknown-digest", "uid-2", pulled(IMAGES, digest="")),
        NodeState("skipped", "uid-3", replace(pulled(IMAGES), status=NodeStatus.SKIPPED)),
        NodeState("mixed", "uid-4", mixed()),
        NodeState("third-attempt", "uid-5", pulled(IMAGES), earlier=(mixed(1), broken(IMAGES), mixed(2))),
        NodeState("taken-over", "uid-6", mixed(3), superseded=True),
        NodeState("superseded-pending", "", superseded=True, earlier=(mixed(4),)),
        NodeState("other-order", "uid-7", pulled(IMAGES[::-1])),
        NodeState("fewer-images", "uid-8", pulled(IMAGES[:1])),
        NodeState("no-images", "uid-9", pulled(())),
    )
    task_id = begin(store, Shard(0, 0, nodes), Shard(0, 1, ()))
    assert [stored.shard for stored in store.all_shards(task_id)] == [Shard(0, 0, nodes), Shard(0, 1, ())]


def test_shards_come_in_the_order_asked_without_those_that_do_not_exist(store: Store) -> None:
    task_id = begin(store, *(new_shard(index) for index in range(12)))
    found = store.shards(task_id, [(0, 11), (0, 2), (1, 0), (0, 12), (0, 5)])
    assert [stored.shard.index for stored in found] == [11, 2, 5]
    assert list(store.shards(task_id, [])) == []
    assert list(store.shards("task-none", [(0, 0)])) == []


def test_all_shards_come_in_order_of_attempt_and_index(store: Store) -> None:
    task = new_task()
    first = [new_shard(index, nodes=1) for index in range(23)]
    stored = store.start(put(store, task), running(task), first, [])
    store.start(stored, running(task, attempt=1), [new_shard(0, attempt=1, nodes=1)], [])
    order = [(one.shard.attempt, one.shard.index) for one in store.all_shards(task.task_id)]
    assert order == [*((0, index) for index in range(23)), (1, 0)]
    assert list(store.all_shards("task-none")) == []


def test_nodes_are_listed_page_by_page(store: Store) -> None:
    task_id = begin(store, *(new_shard(index) for index in range(13)))
    names, token = [], None
    while True:
        page = store.nodes(task_id, limit=5, page_token=token)
        names += [node.name for _, node in page.nodes]
        token = page.next_page_token
        if token is None:
            break
        assert len(page.nodes) == 5
    assert names == [f"node-{index:03d}-{position:03d}" for index in range(13) for position in range(3)]


def test_the_last_page_has_no_token(store: Store) -> None:
    task_id = begin(store, new_shard(nodes=4))
    page = store.nodes(task_id, limit=2)
    assert page.next_page_token
    assert store.nodes(task_id, limit=2, page_token=page.next_page_token).next_page_token is None
    assert store.nodes(task_id, limit=4).next_page_token is None
    assert store.nodes("task-none").nodes == ()


def test_each_node_is_listed_once_with_the_attempt_that_counts(store: Store) -> None:
    task = new_task(images=IMAGES)
    old = Shard(0, 0, (NodeState("a", "1", pulled(IMAGES)), NodeState("b", "2", mixed())))
    stored = store.start(put(store, task), running(task), [old], [])
    [first] = store.all_shards(task.task_id)
    taken = StoredShard(Shard(0, 0, (old.nodes[0], replace(old.nodes[1], superseded=True))), first.version)
    again = NodeState("b", "2", earlier=(mixed(),))
    store.start(stored, running(task, attempt=1), [Shard(1, 0, (again,))], [taken])
    assert store.nodes(task.task_id).nodes == ((0, old.nodes[0]), (1, again))


@pytest.mark.parametrize(
    ("status", "names"),
    [("pending", ["a"]), ("succeeded", ["b"]), ("skipped", ["c"]), ("failed", ["d"]), (None, ["a", "b", "c", "d"])],
)
def test_nodes_can_be_filtered(store: Store, status: str | None, names: list[str]) -> None:
    nodes = (
        NodeState("a", "1"),
        NodeState("b", "2", pulled(IMAGES)),
        NodeState("c", "3", replace(pulled(IMAGES), status=NodeStatus.SKIPPED)),
        NodeState("d", "4", mixed()),
        NodeState("e", "5", mixed(), superseded=True),
    )
    task_id = begin(store, Shard(0, 0, nodes))
    assert [node.name for _, node in store.nodes(task_id, status=status).nodes] == names


@pytest.mark.parametrize(
    "token", ["", "x", "W10", "WzFd", "WzAsMCwtMV0", "WzEwLDAsMF0", "WzAsMC41LDBd", "WyIwIiwwLDBd"]
)
def test_a_foreign_page_token_is_the_callers_error(store: Store, token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        store.nodes("task-none", page_token=token)
    assert [field.field for field in caught.value.fields] == ["pageToken"]


def test_a_report_reads_back_as_it_was_written_and_is_replaced_by_the_next(store: Store) -> None:
    task_id = begin(store)
    first = BatchReport(0, 1, {"a": NO_ROOM, "b": NOT_FOUND, "c": NO_ROOM}, refusal="jobs is forbidden")
    store.report(task_id, BatchReport(0, 1, {}))
    store.report(task_id, first)
    store.report(task_id, BatchReport(0, 10, {}))
    store.report(task_id, BatchReport(1, 1, {"a": NOT_FOUND}))
    found = store.reports(task_id, [(1, 1), (0, 2), (0, 1), (0, 10)])
    assert list(found) == [BatchReport(1, 1, {"a": NOT_FOUND}), first, BatchReport(0, 10, {})]
    assert list(store.reports(task_id, [])) == []
