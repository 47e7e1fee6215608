"""A lease that cannot be renewed is not one that somebody else has."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from functions.tracker.ports import Pace, Ports
from functions.tracker.runner import Runner
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.errors import StaleVersion, TemporaryError
from ips_common.store.memory import MemoryStore


def tracking(store: MemoryStore, happen: threading.Thread) -> None:
    """Track until whatever happens ends it."""
    ports = Ports(store, MemoryBus(), MemoryClusters(MemoryCluster("default", 1)), lambda: datetime.now(UTC))
    pace = Pace(reload=timedelta(seconds=0.05), linger=timedelta(seconds=30))
    happen.start()
    try:
        Runner(ports, pace, lease_seconds=0.3).track(["default"], None, 30)
    finally:
        happen.join()


def once_held(store: MemoryStore, what: str) -> threading.Thread:
    pause = threading.Event()

    def happen() -> None:
        while not ((lease := store.lease("default")) and lease.holder):
            pause.wait(0.01)
        if what == "outage":
            store.down = True
        else:
            while not _taken(store):
                pause.wait(0.01)

    return threading.Thread(target=happen)


def _taken(store: MemoryStore) -> bool:
    try:
        store.acquire_lease("default", "another", store.lease("default"))
    except StaleVersion:  # its holder was faster
        return False
    return True


def test_tracking_that_an_outage_of_the_store_ends_is_asked_for_again_at_once() -> None:
    store = MemoryStore()
    with pytest.raises(TemporaryError, match="could not be renewed"):
        tracking(store, once_held(store, "outage"))


def test_tracking_that_another_tracker_has_taken_over_is_over() -> None:
    store = MemoryStore()
    tracking(store, once_held(store, "takeover"))
    lease = store.lease("default")
    assert lease
    assert lease.holder == "another"
