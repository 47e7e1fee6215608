"""One run: tasks and faults from a seed, then quiet, then the promises."""

import os
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from google.cloud.firestore_v1 import Client

from deploy.local.cluster.running import reach
from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.parts import running_emulator
from deploy.local.stack import Stack
from ips_common.bus.pubsub import PubSubBus
from ips_common.store.client import firestore_client
from ips_common.store.firestore import FirestoreStore
from tests.chaos.faults import Faults
from tests.chaos.promises import violations
from tests.chaos.receiver import Receiver, receiving
from tests.integration.access import Kube, request
from tests.relay import relayed

SCENARIO = "kubelet: {bandwidth_mib: 400, node_status_seconds: 2, backoff_scale: 0.2}\nquarantine_seconds: 3\n"
QUIET_SECONDS = 240
"""How long tasks may take to settle once nothing goes wrong any more."""


@dataclass(frozen=True)
class Report:
    """What a run did and what it found."""

    seed: int
    tasks: int
    nodes: int
    kills: int
    redeliveries: int
    faults: int
    violations: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.tasks} tasks, {self.nodes} nodes, {self.kills} kills, "
            f"{self.redeliveries} redeliveries, {self.faults} faults, {len(self.violations)} violations"
        )


def say(text: str) -> None:
    """Tell how the run goes on."""
    sys.stderr.write(f"{text}\n")


def run(
    seed: int, *, nodes: int = 20, tasks: int = 12, seconds: float = 90, tell: Callable[[str], None] = say
) -> Report:
    """Run once; the same seed makes the same tasks and the same faults, though not at the same instants."""
    random = Random(seed)
    receiver = Receiver(Random(seed + 1), refuse=0.2)
    with TemporaryDirectory() as folder, receiving(receiver) as hook:
        path = Path(folder)
        (path / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
        for name in ("firestore", "pubsub"):
            (path / name).mkdir()
        with (
            running_emulator(FIRESTORE, path / "firestore") as firestore,
            running_emulator(PUBSUB, path / "pubsub") as pubsub,
            relayed(firestore) as firestore_relay,
            relayed(pubsub) as pubsub_relay,
            Stack(
                nodes=nodes,
                scenario=path / "scenario.yaml",
                emulators={"firestore": firestore_relay.address, "pubsub": pubsub_relay.address},
                env={
                    "MAX_CONCURRENT_TASKS": "4",
                    "IPS_PULL_GRACE_SECONDS": "10",
                },
            ) as stack,
        ):
            with _own_emulators(firestore, pubsub):
                client = firestore_client(stack.project)
                bus = PubSubBus(stack.project)
            store = FirestoreStore(client)
            cluster = reach(stack.folders.cluster)
            faults = Faults(stack, cluster, firestore_relay, pubsub_relay, store, bus, random, nodes)
            ids = _storm(stack, faults, random, hook, tasks, seconds, tell)
            faults.stop()
            _settle(store, ids, receiver, tell)
            kube = Kube(stack)
            jobs = kube.batch.list_namespaced_job("ips").items
            found = violations(ids, store, _slots(client), jobs, receiver)
    counts = faults.counts
    others = counts.total() - counts["kill"] - counts["redeliver"]
    return Report(seed, len(ids), nodes, counts["kill"], counts["redeliver"], others, tuple(found))


@contextmanager
def _own_emulators(firestore: str, pubsub: str) -> Iterator[None]:
    """Make clients that reach the emulators directly: what checks must not suffer what is checked."""
    names = {"FIRESTORE_EMULATOR_HOST": firestore, "PUBSUB_EMULATOR_HOST": pubsub}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _storm(
    stack: Stack, faults: Faults, random: Random, hook: str, tasks: int, seconds: float, tell: Callable[[str], None]
) -> list[str]:
    began = time.monotonic()
    ids: list[str] = []
    while (passed := time.monotonic() - began) < seconds or len(ids) < tasks:
        if len(ids) < tasks and passed >= len(ids) * seconds / (tasks + 2):
            ids.append(_create(stack, random, len(ids), hook))
            tell(f"{passed:6.1f} s  task {len(ids)}")
        elif ids and random.random() < 0.03:
            url = f"{stack.api_url}/api/v1/tasks/{random.choice(ids)}"
            tell(f"{passed:6.1f} s  cancel: {_insist(partial(request, url, 'DELETE'))}")
        else:
            tell(f"{passed:6.1f} s  {faults.one()}")
        time.sleep(random.uniform(0.3, 1.5))
    return ids


def _create(stack: Stack, random: Random, number: int, hook: str) -> str:
    images = [f"registry.example/chaos/{number}/{kind}:1" for kind in random.sample(("a", "b", "flaky", "missing"), 2)]
    body = {
        "images": images,
        "batchSize": random.choice((2, 5, 10)),
        "maxConcurrentBatches": random.choice((1, 1, 3)),
        "maxRetries": random.choice((0, 1, 2)),
        "retryDelaySeconds": 2,
        "timeoutSeconds": 30,
        "successThreshold": random.choice((0.5, 0.9)),
        "failFast": random.random() < 0.2,
        "priority": random.randint(1, 10),
        "webhookUrl": hook,
    }
    key = {"Idempotency-Key": f"chaos-{number}"}
    answer: Any = None

    def post() -> Any:
        nonlocal answer
        answer = request(f"{stack.api_url}/api/v1/tasks", "POST", body, key)
        return answer

    _insist(post)
    return str(answer.body["taskId"])


def _insist(send: Callable[[], Any], seconds: float = 120) -> int:
    """Do as a caller should: repeat while the service is away or says 503."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = send()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            answer = None
        if answer is not None and answer.status < 500:
            return int(answer.status)
        assert time.monotonic() < end, f"no answer within {seconds} s: {answer}"
        time.sleep(0.3)


def _settle(store: FirestoreStore, ids: list[str], receiver: Receiver, tell: Callable[[str], None]) -> None:
    """Wait until every task is over, cleaned up and told of, or until that took too long."""
    end = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < end:
        tasks = [store.task(task_id).task for task_id in ids]
        left = [task for task in tasks if not task.status.final or task.cleanup or task.task_id not in receiver.tasks]
        if not left:
            tell("all tasks are settled")
            return
        time.sleep(1)
    tell(f"not settled: {', '.join(task.task_id for task in left)}")


def _slots(client: Client) -> list[str]:
    return [name for document in client.collection("clusters").stream() for name in document.get("running") or {}]
