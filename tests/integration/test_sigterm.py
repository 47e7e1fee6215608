"""SIGTERM in the middle of work: each function finishes or hands back in the ten seconds that Cloud Run gives it."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Event

import pytest

from deploy.local.cluster.running import RunningCluster, reach
from deploy.local.stack import Stack
from tests.chaos.inspector import Inspector
from tests.chaos.receiver import Receiver, receiving
from tests.integration.access import Answer, Tasks, request, until

NODES = 6
FUNCTIONS = ("api", "batch", "tracker", "notify")
GRACE_SECONDS = 10
LEASE_SECONDS = 120
"""So long that no test could wait for a lease to expire."""


class Slow(Receiver):
    """A receiver that has an event in hand until it is let go."""

    def __init__(self) -> None:
        super().__init__(Random(0), refuse=0)
        self.go = Event()
        self.go.set()
        self.in_hand: set[str] = set()

    def take(self, event: dict[str, object]) -> int:
        self.in_hand.add(str(event["subject"]))
        assert self.go.wait(30)
        return super().take(event)


class Land:
    """A stack, and what becomes of its functions when they are told to end."""

    def __init__(self, stack: Stack, receiver: Slow, hook: str, emulators: dict[str, str]) -> None:
        self.stack = stack
        self.receiver = receiver
        self.tasks = Tasks(stack)
        self.cluster: RunningCluster = reach(stack.folders.cluster)
        self.inspector = Inspector(stack, emulators["firestore"], emulators["pubsub"])
        self.ids: list[str] = []
        self._hook = hook

    def create(self, name: str, **fields: object) -> str:
        image = f"registry.example/end/{name}:1"
        task_id = str(self.tasks.create(image, webhookUrl=self._hook, **fields)["taskId"])
        self.ids.append(task_id)
        return task_id

    def terminate(self, name: str) -> None:
        """Tell a function to end, as Cloud Run does."""
        pid = self.stack.pid(name)
        assert pid
        os.kill(pid, signal.SIGTERM)

    def ended(self, name: str) -> None:
        """Wait for its end, which has to come in time and to be a good one."""
        process = self.stack._supervisor.parts[name].process
        assert process.wait(time.monotonic() + GRACE_SECONDS), f"{name} has not ended within {GRACE_SECONDS} s"
        assert process.outcome == "exit code 0"

    def done(self) -> None:
        """Start everything again and wait until all is as promised."""
        for name in FUNCTIONS:
            self.stack.start(name)
        left = self.inspector.left(self.ids, self.receiver, 45)
        assert not left, [self.tasks.get(task_id) for task_id in left]
        assert not self.inspector.violations(self.ids, self.receiver)
        assert {self.tasks.get(task_id)["status"] for task_id in self.ids} == {"completed"}


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, emulators: dict[str, str], coverage_env: dict[str, str]
) -> Iterator[Land]:
    scenario: Path = tmp_path_factory.mktemp("sigterm") / "scenario.yaml"
    scenario.write_text("kubelet: {bandwidth_mib: 1000}\n")
    receiver = Slow()
    with (
        receiving(receiver) as hook,
        Stack(
            nodes=NODES,
            scenario=scenario,
            emulators=emulators,
            autorestart=False,
            env={"IPS_LEASE_SECONDS": str(LEASE_SECONDS), **coverage_env},
        ) as stack,
    ):
        yield Land(stack, receiver, hook, emulators)


@pytest.fixture
def land(running: Land) -> Iterator[Land]:
    for name in FUNCTIONS:
        running.stack.start(name)
    yield running
    running.receiver.go.set()
    running.cluster.command("faults/clear", {})


def test_a_caller_who_waits_at_a_gate_is_told_to_ask_again(land: Land) -> None:
    task_id = land.create("gate/slow3", batchSize=NODES)
    url = f"{land.stack.api_url}/api/v1/tasks/{task_id}/gate?min=1&waitSeconds=45"
    with ThreadPoolExecutor(1) as pool:
        gate: Future[Answer] = pool.submit(request, url)
        until(lambda: land.inspector.kube.jobs(task_id), "the task has begun")
        land.terminate("api")
        answer = gate.result()
    land.ended("api")
    assert (answer.status, answer.body["state"]) == (202, "waiting")
    land.done()


def test_a_batch_that_is_being_created_is_created_or_delivered_again(land: Land) -> None:
    # Six Jobs at once: each call takes its time, and some Jobs are there when the function is told to end.
    land.cluster.command("faults", {"latency_seconds": 2, "verbs": ["create"], "users": ["ips*"], "share": 0.5})
    task_id = land.create("batch", batchSize=NODES)
    until(lambda: land.inspector.kube.jobs(task_id), "the first Jobs are there")
    land.terminate("batch")
    land.ended("batch")
    land.cluster.command("faults/clear", {})
    land.done()
    assert len(land.inspector.kube.jobs(task_id)) == NODES


def test_a_tracker_gives_its_lease_back_and_the_next_one_takes_over_at_once(land: Land) -> None:
    land.create("tracker/slow2", batchSize=3)
    until(lambda: (held := land.inspector.store.lease("default")) and held.holder, "there is a tracker")
    land.terminate("tracker")
    land.ended("tracker")
    lease = land.inspector.store.lease("default")
    assert lease
    assert lease.holder == ""
    land.done()


def test_a_webhook_that_is_being_posted_is_posted_to_the_end(land: Land) -> None:
    land.receiver.go.clear()
    task_id = land.create("notify", batchSize=NODES)
    until(lambda: task_id in land.receiver.in_hand, "the event is being posted")
    land.terminate("notify")
    land.receiver.go.set()
    land.ended("notify")
    assert land.tasks.get(task_id)["webhook"]["state"] == "delivered"
    land.done()
