"""What only the real store can get wrong: lost answers, outages, sizes, costs and indexes."""

import json
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ips_common.errors import PermanentError, StaleVersion, StoreUnavailable
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason, Shard
from ips_common.models.task import TaskStatus
from ips_common.ports.store import BatchReport, IdempotencyKey, Store, StoredShard, StoredTask
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from tests.contract.relay import Relay, relaying
from tests.contract.samples import START, at_once, finished, new_shard, new_task, pulled, put, running, waiting

INDEXES = Path(__file__).parents[2] / "infra" / "firestore.indexes.json"
DOCUMENT_LIMIT = 1_048_576
COMMIT_LIMIT = 4_194_304
"""Bytes of a gRPC message to the emulator; Firestore itself takes 10 MiB."""


@pytest.fixture
def relayed(firestore_emulator: str, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Relay]]:
    """A store whose calls are counted, and can be disturbed, on the way."""
    with relaying(firestore_emulator) as (relay, host):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        yield FirestoreStore(firestore_client(project), 10), relay


# Lost answers


def test_a_creation_whose_answer_was_lost_happens_once(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    relay.lose_answers = 1
    assert store.create_task(new_task(1)) == (new_task(1), True)
    relay.lose_answers = 1
    key = IdempotencyKey("key", "body")
    assert store.create_task(new_task(2), key) == (new_task(2), True)
    assert store.create_task(new_task(3), key) == (new_task(2), False)
    assert relay.lose_answers == 0


def test_changes_whose_answer_was_lost_happen_once(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    stored = put(store, new_task())
    relay.lose_answers = 2
    stored = store.start(stored, running(stored.task), [new_shard()], [])
    relay.lose_answers = 1
    shards = store.all_shards(stored.task.task_id)
    shards = [StoredShard(new_shard(result=pulled()), shards[0].version)]
    stored, shards = store.save(stored, stored.task.model_copy(update={"opened": 1}), shards)
    relay.lose_answers = 1
    stored, shards = store.save(stored, finished(stored.task), shards)
    assert store.task(stored.task.task_id) == stored
    assert store.all_shards(stored.task.task_id) == shards
    assert store.figures().tasks == {"completed": 1}
    assert relay.lose_answers == 0


def test_a_lease_whose_answer_was_lost_is_held(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    seen = None
    for _ in range(3):
        relay.lose_answers = 1
        seen = store.acquire_lease("default", "a", seen)
        assert store.lease("default") == seen


def test_a_stale_change_stays_stale_when_its_answer_was_lost(relayed: tuple[Store, Relay]) -> None:
    store, relay = relayed
    stored = put(store, new_task())
    store.transition("task-0000", lambda task: task.model_copy(update={"opened": 1}))
    relay.lose_answers = 1
    with pytest.raises(StaleVersion):
        store.save(stored, stored.task)


# Outages


def _calls(store: Store) -> dict[str, Callable[[], Any]]:
    stored = StoredTask(new_task(), None)
    return {
        "create": partial(store.create_task, new_task()),
        "create-with-key": partial(store.create_task, new_task(), IdempotencyKey("key", "body")),
        "task": partial(store.task, "task-0000"),
        "list": store.list_tasks,
        "open": partial(store.open_tasks, "default"),
        "queue": partial(store.queue, "default", 1),
        "queued": partial(store.queued, "default"),
        "transition": partial(store.transition, "task-0000", finished),
        "shards": partial(store.shards, "task-0000", [(0, 0)]),
        "all-shards": partial(store.all_shards, "task-0000"),
        "nodes": partial(store.nodes, "task-0000"),
        "report": partial(store.report, "task-0000", BatchReport(0, 1, {})),
        "reports": partial(store.reports, "task-0000", [(0, 1)]),
        "figures": store.figures,
        "lease": partial(store.lease, "default"),
        "acquire": partial(store.acquire_lease, "default", "a", None),
        "ready": partial(store.ready, 0.5),
        "start": partial(store.start, stored, running(stored.task), [], []),
    }


def test_a_store_that_is_away_is_said_to_be_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{unused.getsockname()[1]}")
        store = FirestoreStore(firestore_client("test-away"), timeout=0.7)
        began = time.monotonic()
        calls = _calls(store)
        outcomes = at_once(list(calls.values()))
        assert time.monotonic() - began < 30
    for name, outcome in zip(calls, outcomes, strict=True):
        assert isinstance(outcome, StoreUnavailable), (name, outcome)


def test_a_store_that_does_not_answer_is_said_to_be_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        store = FirestoreStore(firestore_client("test-silent"), timeout=0.7)
        outcomes = at_once(list(_calls(store).values()))
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}


def test_a_lost_store_is_looked_for_often(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        store = FirestoreStore(firestore_client("test-away"), timeout=5)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(store.task, "task-0000")
            server.settimeout(0.1)
            while not call.done():
                with suppress(TimeoutError):
                    server.accept()[0].close()
                    attempts += 1
        assert isinstance(call.exception(), StoreUnavailable)
    assert attempts >= 5  # left alone, gRPC makes three or four, and soon one every two minutes


def test_work_resumes_when_the_store_is_back(
    firestore_emulator: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{port}")
        store = FirestoreStore(firestore_client(project))
        with pytest.raises(StoreUnavailable):
            store.ready(0.5)
    with relaying(firestore_emulator, port):
        assert store.create_task(new_task()) == (new_task(), True)


def test_an_error_names_the_document_and_keeps_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    store = FirestoreStore(firestore_client("test-away"), timeout=0.2)
    with pytest.raises(StoreUnavailable, match="tasks/task-0000") as caught:
        store.task("task-0000")
    assert caught.value.__cause__ is not None


# Sizes and costs


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


# Indexes


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

    assert _used(firestore_emulator, project) == _declared()


def _used(host: str, project: str) -> set[tuple[Any, ...]]:
    database = urllib.parse.quote(f"projects/{project}/databases/(default)", safe="")
    url = f"http://{host}/emulator/v1/projects/{project}:indexUsage?database={database}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        reports = json.load(answer).get("reports", [])
    return {index for report in reports if (index := _index(report["index"]))}


def _declared() -> set[tuple[Any, ...]]:
    return {
        (index["collectionGroup"], *((field["fieldPath"], field["order"]) for field in index["fields"]))
        for index in json.loads(INDEXES.read_text(encoding="utf-8"))["indexes"]
    }


def _index(report: dict[str, Any]) -> tuple[Any, ...] | None:
    """The index of a report; None for equalities only, which Firestore answers from single-field indexes."""
    fields = [(field["fieldPath"], field["order"]) for field in report["fields"] if field["fieldPath"] != "__name__"]
    group = report["name"].split("/collectionGroups/")[1].split("/")[0]
    if all(order == "ASCENDING" for _, order in fields):
        return None
    return (group, *fields)
