"""One store after the other: the fake and the real one behind the same name."""

import uuid
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from ips_common.ports.store import Store
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from ips_common.store.memory import MemoryStore
from tests.contract.relay import Relay, relaying

MakeStore = Callable[[int], Store]


@pytest.fixture
def project() -> str:
    """A project of the test's own: nothing of other tests is in it."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def firestore(firestore_emulator: str, project: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FirestoreStore]:
    """Makes stores that share the test's database, as functions do."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator)
    return lambda slots=10, **options: FirestoreStore(firestore_client(project), slots, **options)


@pytest.fixture(params=["memory", "firestore"])
def make_store(request: pytest.FixtureRequest) -> MakeStore:
    """Makes an empty store with so many slots in each cluster."""
    if request.param == "memory":
        return MemoryStore
    return cast("MakeStore", request.getfixturevalue("firestore"))


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    """An empty store with two slots in each cluster."""
    return make_store(2)


@pytest.fixture(params=["memory", "firestore"])
def impatient_store(request: pytest.FixtureRequest) -> Store:
    """A store that does not try for long to come between other writers."""
    if request.param == "memory":
        return MemoryStore()
    return cast("Store", request.getfixturevalue("firestore")(contention_timeout=0.2))


@pytest.fixture
def relayed(firestore_emulator: str, project: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Store, Relay]]:
    """A store whose calls are counted, and can be disturbed, on the way."""
    with relaying(firestore_emulator) as (relay, host):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        yield FirestoreStore(firestore_client(project), 10), relay
