"""Documents that make no sense: told by name, quoted nowhere, and in nobody's way."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from ips_common.errors import UnreadableDocument
from ips_common.models.task import PendingReason
from ips_common.ports.store import IdempotencyKey
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from tests.contract.samples import new_shard, new_task, put, running

SECRET = "https://user:planted-password@hooks.example/"


@pytest.fixture
def store(firestore: Callable[..., FirestoreStore]) -> FirestoreStore:
    return firestore()


@pytest.fixture
def spoil(store: FirestoreStore, project: str) -> Callable[..., None]:
    """Changes fields of a document behind the store's back."""
    del store  # it has said where the emulator is
    client = firestore_client(project)

    def change(path: str, **fields: object) -> None:
        client.document(path).update(fields)

    return change


def test_a_task_that_cannot_be_read_is_told_without_a_word_of_it(
    store: FirestoreStore, spoil: Callable[..., None]
) -> None:
    key = IdempotencyKey("key", "body")
    store.create_task(new_task(), key)
    spoil("tasks/task-0000", spec={"webhookUrl": SECRET})
    for read in (lambda: store.task("task-0000"), lambda: store.keyed(key, new_task().created_at)):
        with pytest.raises(UnreadableDocument, match="tasks/task-0000 cannot be read") as caught:
            read()
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert "planted" not in str(caught.value)


def test_lists_leave_it_out_and_say_so(
    store: FirestoreStore, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        put(store, new_task(number))
    spoil("tasks/task-0001", spec={"webhookUrl": SECRET})
    with caplog.at_level(logging.ERROR):
        assert [stored.task.task_id for stored in store.open_tasks("default")] == ["task-0000", "task-0002"]
        first = store.list_tasks(limit=2)
        rest = store.list_tasks(limit=2, page_token=first.next_page_token)
    assert [[task.task_id for task in page.tasks] for page in (first, rest)] == [["task-0002"], ["task-0000"]]
    records: list[Any] = caplog.records
    assert {record.error for record in records} == {"tasks/task-0001 cannot be read (ValidationError)"}
    assert "planted" not in caplog.text


def test_the_head_of_a_queue_does_not_block_it(store: FirestoreStore, spoil: Callable[..., None]) -> None:
    for number in range(4):
        put(store, new_task(number, pending_reason=PendingReason.SLOT))
    for number in range(3):
        spoil(f"tasks/task-{number:04d}", spec=None)
    assert [stored.task.task_id for stored in store.queue("default", 1)] == ["task-0003"]
    spoil("tasks/task-0003", spec=None)
    assert list(store.queue("default", 1)) == []


def test_a_shard_that_cannot_be_read_is_told(store: FirestoreStore, spoil: Callable[..., None]) -> None:
    stored = put(store, new_task())
    store.start(stored, running(stored.task), [new_shard()], [])
    spoil("tasks/task-0000/shards/0-00000", facts=7)
    with pytest.raises(UnreadableDocument, match="shards/0-00000"):
        store.all_shards("task-0000")
    with pytest.raises(UnreadableDocument, match="shards/0-00000"):
        store.shards("task-0000", [(0, 0)])
