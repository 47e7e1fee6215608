"""The emulators that contract and integration tests share: one process each, started when first asked for."""

from collections.abc import Iterator

import pytest

from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.parts import ROOT, running_emulator
from tests.firestore_indexes import declared, used

PROJECTS: set[str] = set()
"""Every project that a test may have used in the Firestore emulator."""


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Note the projects of a test: its own, and those of the stacks, which name their folders by them."""
    PROJECTS.update(path.name for path in ROOT.glob(".local/ips-local-*"))
    if isinstance(item, pytest.Function) and isinstance(project := item.funcargs.get("project"), str):
        PROJECTS.add(project)


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`address:port` of a Firestore emulator; a project of its own isolates a test.

    At the end of the session no test may have needed a composite index that is not declared.
    """
    with running_emulator(FIRESTORE, tmp_path_factory.mktemp("firestore")) as host:
        yield host
        missing = used(host, PROJECTS) - declared()
        assert not missing, f"queries need indexes that infra/firestore.indexes.json does not declare: {missing}"


@pytest.fixture(scope="session")
def pubsub_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`address:port` of a Pub/Sub emulator; a project of its own isolates a test."""
    with running_emulator(PUBSUB, tmp_path_factory.mktemp("pubsub")) as host:
        yield host
