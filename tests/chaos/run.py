"""One run: tasks and faults from a seed, then quiet, then the promises."""

import sys
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from deploy.local.cluster.running import reach
from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.parts import running_emulator
from deploy.local.stack import Stack
from tests.chaos.faults import Faults
from tests.chaos.inspector import Inspector
from tests.chaos.receiver import Receiver, receiving
from tests.integration.access import request
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
            inspector = Inspector(stack, firestore, pubsub)
            cluster = reach(stack.folders.cluster)
            faults = Faults(
                stack, cluster, firestore_relay, pubsub_relay, inspector.store, inspector.bus, random, nodes
            )
            ids = _storm(stack, faults, random, hook, tasks, seconds, tell)
            faults.stop()
            left = inspector.left(ids, receiver, QUIET_SECONDS)
            tell(f"not settled: {', '.join(left)}" if left else "all tasks are settled")
            found = inspector.violations(ids, receiver)
    counts = faults.counts
    others = counts.total() - counts["kill"] - counts["redeliver"]
    return Report(seed, len(ids), nodes, counts["kill"], counts["redeliver"], others, tuple(found))


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
