"""What Firestore charges for and what it limits: sizes, reads and writes, expiry, indexes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ips_common.errors import PermanentError
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason, Shard
from ips_common.models.task import TaskStatus
from ips_common.ports.store import BatchReport, IdempotencyKey, Store, StoredShard
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from tests.contract.relay import Relay
from tests.contract.samples import START, finished, new_shard, new_task, pulled, put, running, waiting
from tests.firestore_indexes import declared, used

DOCUMENT_LIMIT = 1_048_576
COMMIT_LIMIT = 4_194_304
"""Bytes of a gRPC message to the emulator; Firestore itself takes 10 MiB."""


IMAGES = tuple(f"registry.example.com:5000/team/service-{number:02d}:1.2.3-{'x' * 60}" for number in range(50))


def _unlucky(node: str, distinct: Sequence[str]) -> NodeResult:
    """A result in which every image failed, with as many messages of its own as `distinct` is long."""
    problems = [
        Problem(Reason.REGISTRY_UNAVAILABLE, f"{node} {text}: {'é' * 400}", retryable=True) for text in distinct
    ]
    images = tuple(ImageResult(image, problem=problems[number % len(problems)]) for number, image in enumerate(IMAGES))
    return NodeResult(NodeStatus.FAILED, images, START)


def test_a_shard_fits_its_document_whatever_happened_to_its_nodes(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    task = new_task(images=IMAGES, max_retries=5)
    nodes = tuple(
        NodeState(
            f"{position:03d}{'n' * 250}",
            "u" * 36,
            _unlucky(f"{position} 5", IMAGES),
            earlier=tuple(_unlucky(f"{position} {attempt}", IMAGES) for attempt in range(5)),
        )
        for position in range(100)
    )
    stored = store.start(put(store, task), running(task), [Shard(5, 0, nodes)], [])
    assert relay.largest < DOCUMENT_LIMIT
    [shard] = store.all_shards(stored.task.task_id)
    store.save(stored, stored.task, [shard])
    [same] = store.all_shards(stored.task.task_id)
    assert same.shard == shard.shard
    first, last = same.shard.nodes[0].result, same.shard.nodes[-1].earlier[-1]
    assert first
    assert first.images[0].problem
    assert first.images[0].problem.message.startswith("0 5 registry.example.com")
    assert {image.problem for image in last.images} == {Problem(Reason.REGISTRY_UNAVAILABLE, "", retryable=True)}


def test_5000_nodes_of_50_images_can_all_fail_and_be_tried_again(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    task = new_task(images=IMAGES, batch_size=100, max_retries=1)
    shards = [
        Shard(0, index, tuple(_unlucky_node(f"{index}-{position}") for position in range(100))) for index in range(50)
    ]
    stored = store.start(put(store, task), running(task, attempt_nodes=5000, batches=50), shards, [])
    before = store.all_shards(task.task_id)
    taken = [StoredShard(_superseded(one.shard), one.version) for one in before]
    store.start(stored, running(task, attempt=1), [_again(one.shard) for one in before], taken)
    assert relay.largest < COMMIT_LIMIT
    assert [attempt for attempt, _ in store.nodes(task.task_id, limit=100).nodes] == [1] * 100
    first, *_, last = (node.earlier[0].images[0].problem for node in store.all_shards(task.task_id)[-1].shard.nodes)
    assert first
    assert first.message.startswith("49-0 a")
    assert last == Problem(Reason.REGISTRY_UNAVAILABLE, "", retryable=True)


def _unlucky_node(name: str) -> NodeState:
    return NodeState(name, f"uid-{name}", _unlucky(name, ["a", "b"]))


def _superseded(shard: Shard) -> Shard:
    return replace(shard, nodes=tuple(replace(node, superseded=True) for node in shard.nodes))


def _again(shard: Shard) -> Shard:
    nodes = tuple(NodeState(node.name, node.uid, earlier=(node.result,)) for node in shard.nodes if node.result)
    return Shard(shard.attempt + 1, shard.index, nodes)


def test_a_life_of_1000_nodes_costs_few_reads_and_writes(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    task = new_task(batch_size=100, max_concurrent_batches=10)
    store.create_task(task, IdempotencyKey("key", "body"))
    [stored] = store.open_tasks("default")
    shards = [new_shard(index, nodes=100) for index in range(10)]
    stored = store.start(stored, running(stored.task, attempt_nodes=1000, batches=10), shards, [])
    for batch in range(1, 11):
        [shard] = store.shards(task.task_id, [(0, stored.task.shard_of(batch))])
        settled = StoredShard(new_shard(shard.shard.index, nodes=100, result=pulled()), shard.version)
        done = stored.task.model_copy(update={"completed_nodes": 100 * batch})
        stored, _ = store.save(stored, finished(done) if batch == 10 else done, [settled])
    assert store.figures().nodes == {"succeeded": 1000}
    assert relay.written <= 0.1 * 1000
    assert relay.read <= 0.1 * 1000


def test_an_update_sends_only_what_changed(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard(nodes=100)], [])
    [shard] = store.all_shards(stored.task.task_id)
    relay.largest = 0
    store.save(stored, stored.task, [StoredShard(new_shard(nodes=100, result=pulled()), shard.version)])
    assert 0 < relay.largest < 5_000  # the names and uids of 100 nodes alone are more


def test_a_document_that_cannot_be_stored_is_refused_for_good(firestore: Callable[..., FirestoreStore]) -> None:
    with pytest.raises(PermanentError, match="task-0000"):
        firestore().create_task(new_task(error_message="x" * 1_100_000))


def test_expiry_is_written_for_what_firestore_is_to_remove(
    firestore: Callable[..., FirestoreStore], project: str
) -> None:
    store = firestore(retention=timedelta(days=3), clock=lambda: START)
    stored = store.start(put(store, new_task()), running(new_task()), [new_shard()], [])
    store.create_task(new_task(1), IdempotencyKey("key", "body"))
    store.report(stored.task.task_id, BatchReport(0, 1, {}))
    client = firestore_client(project)

    def expiry(*path: str) -> Any:
        return client.document(*path).get().get("expireAt")

    assert expiry("tasks", "task-0000") is None
    store.save(stored, finished(stored.task))
    assert expiry("tasks", "task-0000") == START + timedelta(days=3, seconds=90)
    assert expiry("tasks", "task-0000", "shards", "0-00000") > START + timedelta(days=6)
    assert expiry("tasks", "task-0000", "reports", "0-1") == START + timedelta(days=6)
    [claim] = client.collection("idempotency").get()
    assert claim.get("expireAt") == START + timedelta(days=1, seconds=1)


def test_every_composite_index_that_queries_need_is_declared_and_no_other(
    firestore_emulator: str, firestore: Callable[..., FirestoreStore], project: str
) -> None:
    store = firestore()
    for number in range(3):
        put(store, new_task(number))
    put(store, waiting(new_task(3)))
    for status in (None, TaskStatus.PENDING):
        for cluster in (None, "default"):
            token = store.list_tasks(status=status, cluster=cluster, limit=1).next_page_token
            store.list_tasks(status=status, cluster=cluster, page_token=token)
    store.open_tasks("default")
    store.queue("default", 1)
    store.queued("default")
    store.figures()
    store.all_shards("task-0000")
    store.nodes("task-0000")

    assert used(firestore_emulator, [project]) == declared()
