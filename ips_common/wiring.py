"""The one place where settings become adapters; each is made once per process, when first needed.

Imports stand inside the factories: a function pays at cold start only for what it uses.
"""

from functools import cache

from ips_common import logs
from ips_common.config import Settings, settings
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store


@cache
def configure() -> Settings:
    """Read the settings and set logging up.

    Raises:
        ConfigError: a variable is missing or wrong.
    """
    config = settings()
    logs.configure(
        level=config.log_level, log_format=config.log_format, project=config.project, function=config.function
    )
    return config


@cache
def store() -> Store:
    """Return the Firestore store."""
    from ips_common.store.client import firestore_client  # noqa: PLC0415 - paid only by functions that use it
    from ips_common.store.firestore import FirestoreStore  # noqa: PLC0415 - same

    config = configure()
    client = firestore_client(config.project, config.database)
    return FirestoreStore(client, max_concurrent_tasks=config.max_concurrent_tasks)


@cache
def bus() -> Bus:
    """Return the Pub/Sub bus."""
    from ips_common.bus.pubsub import PubSubBus  # noqa: PLC0415 - same

    return PubSubBus(project=configure().project)


@cache
def clusters() -> Clusters:
    """Return the configured clusters; none is contacted before it is used."""
    from ips_common.cluster.configured import ConfiguredClusters  # noqa: PLC0415 - same

    config = configure()
    return ConfiguredClusters(config.clusters, config.namespace, poll_interval=config.status_poll_interval)
