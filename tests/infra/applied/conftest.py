"""What `terraform test` applied in its runs, as `make infra-check` wrote it down."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Applied:
    """One applied run: every resource's values by its address, and the outputs' values."""

    resources: dict[str, dict[str, Any]]
    outputs: dict[str, Any]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a kind, or of `kind.name`, by address."""
        return {
            address: each
            for address, each in self.resources.items()
            if address.startswith((f"{kind}.", f"{kind}[")) or address == kind
        }

    def function(self, name: str) -> dict[str, Any]:
        """Return a function's service configuration."""
        found = self.resources[f'google_cloudfunctions2_function.this["{name}"]']
        config: dict[str, Any] = found["service_config"][0]
        return config


@pytest.fixture(scope="session")
def runs() -> dict[str, Applied]:
    """Every run, by `file/run`."""
    path = os.environ.get("IPS_INFRA_APPLIED")
    if path is None:
        pytest.skip("needs what make infra-check applies")
    content = json.loads(Path(path).read_text("utf-8"))
    return {name: Applied(each["resources"], each["outputs"]) for name, each in content.items()}
