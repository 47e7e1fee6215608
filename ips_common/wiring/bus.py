"""The Pub/Sub bus."""

from functools import cache

from ips_common.bus.pubsub import PubSubBus
from ips_common.ports.bus import Bus
from ips_common.wiring.configuration import configure


@cache
def bus() -> Bus:
    """Return the bus; nothing is contacted before it is used."""
    return PubSubBus(project=configure().project)
