"""The Firestore store."""

from functools import cache

from ips_common.ports.store import Store
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from ips_common.wiring.configuration import configure


@cache
def store() -> Store:
    """Return the store; nothing is contacted before it is used."""
    config = configure()
    client = firestore_client(config.project, config.database)
    return FirestoreStore(client, max_concurrent_tasks=config.max_concurrent_tasks)
