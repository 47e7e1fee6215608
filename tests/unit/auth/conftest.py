"""The stand-in issuer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.auth.stand_in import StandIn, issuer


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """An issuer of the test's own, over HTTPS."""
    with issuer(tmp_path) as running:
        yield running
