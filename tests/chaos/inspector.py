"""Eyes of the test's own: what they see must not suffer from what is done to the functions."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from google.cloud.firestore_v1 import Client

from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.stack import Stack
from ips_common.bus.pubsub import PubSubBus
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from tests.chaos.promises import violations
from tests.chaos.receiver import Receiver
from tests.integration.access import Kube


class Inspector:
    """Looks at a stack's tasks past everything that stands before its emulators."""

    def __init__(self, stack: Stack, firestore: str, pubsub: str) -> None:
        """Reach the emulators at `firestore` and `pubsub` (`address:port`) themselves."""
        with _emulators({FIRESTORE.variable: firestore, PUBSUB.variable: pubsub}):
            self.client: Client = firestore_client(stack.project)
            self.bus = PubSubBus(stack.project)
        self.store = FirestoreStore(self.client)
        self.kube = Kube(stack)

    def left(self, ids: Sequence[str], receiver: Receiver, seconds: float) -> list[str]:
        """Wait until every task is over, cleaned up and told of; returns those that are not after `seconds`."""
        end = time.monotonic() + seconds
        while True:
            tasks = [self.store.task(task_id).task for task_id in ids]
            left = [
                task.task_id
                for task in tasks
                if not task.status.final or task.cleanup or task.task_id not in receiver.tasks
            ]
            if not left or time.monotonic() >= end:
                return left
            time.sleep(0.2)

    def violations(self, ids: Sequence[str], receiver: Receiver, seconds: float = 15) -> list[str]:
        """Return every broken promise, in words; a Job may take its time to say that its pod is over."""
        end = time.monotonic() + seconds
        while True:
            jobs = self.kube.batch.list_namespaced_job("ips").items
            found = violations(ids, self.store, self._slots(), jobs, receiver)
            if not found or time.monotonic() >= end:
                return found
            time.sleep(0.2)

    def _slots(self) -> list[str]:
        documents: Any = self.client.collection("clusters").stream()
        return [name for document in documents for name in document.get("running") or {}]


@contextmanager
def _emulators(hosts: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in hosts}
    os.environ.update(hosts)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
