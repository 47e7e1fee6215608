"""What handling a release event needs from outside; `main.py` gives the real parts, tests give fakes."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ips_common.models.image_rule import AllowedImages
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.releases import Releases
from ips_common.ports.store import Store
from ips_common.rules import ReleaseRule
from ips_common.webhook.address import AddressRules


def _now() -> datetime:
    return datetime.now(UTC)


def _random_hex() -> str:
    return secrets.token_hex(6)


@dataclass(frozen=True, kw_only=True)
class Deps:
    """The ports, the rules, and what tests want to decide."""

    store: Store
    bus: Bus
    clusters: Clusters
    releases: Releases
    rules: Sequence[ReleaseRule]
    max_pending_tasks: int
    allowed_images: AllowedImages = field(default_factory=lambda: AllowedImages(()))
    webhook_rules: AddressRules = field(default_factory=AddressRules)
    now: Callable[[], datetime] = _now
    random_hex: Callable[[], str] = _random_hex
