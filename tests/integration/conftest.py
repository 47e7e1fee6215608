"""The whole stack, once for all integration tests."""

from collections.abc import Iterator

import coverage
import pytest

from deploy.local.parts import ROOT
from deploy.local.stack import Stack


@pytest.fixture(scope="session")
def coverage_env() -> dict[str, str]:
    """What makes a function measure its coverage too, where the tests do."""
    measured = coverage.Coverage.current() is not None
    return {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml")} if measured else {}


@pytest.fixture(scope="session")
def emulators(firestore_emulator: str, pubsub_emulator: str) -> dict[str, str]:
    """Both emulators, by name, for stacks that need none of their own."""
    return {"firestore": firestore_emulator, "pubsub": pubsub_emulator}


@pytest.fixture(scope="session")
def stack(emulators: dict[str, str], coverage_env: dict[str, str]) -> Iterator[Stack]:
    """A stack of 20 simulated nodes with the real functions."""
    with Stack(nodes=20, emulators=emulators, env=coverage_env) as running:
        yield running
