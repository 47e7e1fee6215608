"""The emulators that contract and integration tests share: one process each, started when first asked for."""

from collections.abc import Iterator

import pytest

from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.parts import running_emulator


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`address:port` of a Firestore emulator; a project of its own isolates a test."""
    with running_emulator(FIRESTORE, tmp_path_factory.mktemp("firestore")) as host:
        yield host


@pytest.fixture(scope="session")
def pubsub_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`address:port` of a Pub/Sub emulator; a project of its own isolates a test."""
    with running_emulator(PUBSUB, tmp_path_factory.mktemp("pubsub")) as host:
        yield host
