"""What the API needs from outside; `main.py` gives the real parts, tests give fakes."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from functions.api.callers import Authenticate, anyone
from ips_common import cancel, launch
from ips_common.accept import Launch
from ips_common.draining import draining
from ips_common.models.image_rule import AllowedImages
from ips_common.models.task import Task
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store
from ips_common.webhook.address import AddressRules


class Cancel(Protocol):
    """Cancels a task (see `ips_common.cancel`)."""

    def __call__(self, task_id: str, /, *, store: Store, bus: Bus, clusters: Clusters, now: datetime) -> Task:
        """Return the cancelled task."""
        ...


def _now() -> datetime:
    return datetime.now(UTC)


def _random_hex() -> str:
    return secrets.token_hex(6)


@dataclass(frozen=True, kw_only=True)
class Deps:
    """The ports, the use cases shared with other functions, and what tests want to decide."""

    store: Store
    bus: Bus
    clusters: Clusters
    max_pending_tasks: int
    authenticate: Authenticate = anyone
    allowed_images: AllowedImages = field(default_factory=lambda: AllowedImages(()))
    webhook_rules: AddressRules = field(default_factory=AddressRules)
    launch: Launch = launch.launch
    cancel: Cancel = cancel.cancel
    now: Callable[[], datetime] = _now
    random_hex: Callable[[], str] = _random_hex
    gate_interval: float = 1.0
    """Seconds between two looks at a task that callers wait for."""
    gate_max_wait: float = 50.0
    """Seconds one call waits at most: the function's own time ends at 60."""
    gate_max_waiters: int = 32
    """Callers that wait at once; more are answered at once, so that waiting never uses up an instance's threads."""
    draining: Callable[[], bool] = draining
    """Whether the process is to end soon."""
    ready_timeout: float = 1.8
    """Seconds in which `/ready` answers, whatever hangs."""
    figures_max_age: float = 5.0
    """Seconds for which `/metrics` may show the same figures."""
