"""What tracking needs of the outside world and of its configuration."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store
from ips_common.verdict import Patience


@dataclass(frozen=True, slots=True)
class Ports:
    """The adapters, and the clock."""

    store: Store
    bus: Bus
    clusters: Clusters
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long.

    Args:
        reload: between two looks at what others may have changed.
        linger: how long to stay when nothing is left to track, for what may come next.
        patience: how long a node may look bad.
    """

    reload: timedelta = timedelta(seconds=5)
    linger: timedelta = timedelta(seconds=2)
    patience: Patience = field(default_factory=Patience)
