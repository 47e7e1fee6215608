"""What only the real store can get wrong: lost answers and outages."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from ips_common.errors import StaleVersion, StoreUnavailable
from ips_common.ports.store import BatchReport, IdempotencyKey, Store, StoredShard, StoredTask
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from tests.contract.relay import Relay, relaying
from tests.contract.samples import at_once, finished, new_shard, new_task, pulled, put, running


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
    attempts: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        store = FirestoreStore(firestore_client("test-away"), timeout=3)
        server.settimeout(60)

        def ask() -> None:
            while len(attempts) < 6:
                with pytest.raises(StoreUnavailable):
                    store.task("task-0000")

        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask)
            while len(attempts) < 6:
                server.accept()[0].close()
                attempts.append(time.monotonic())
            asking.result()
    # Left alone, gRPC lets pass 4 s, then 6.5 s, and soon two minutes.
    assert min(later - earlier for earlier, later in pairwise(attempts[3:])) < 3


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
