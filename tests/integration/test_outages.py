"""Firestore, Pub/Sub and the cluster away, each in turn, with tasks running, waiting and being created.

On a shortened clock: an outage lasts some ten seconds here, first frozen, then refused. What stands for five minutes
is what it outlasts: every call's own timeout (6 s), the tracker's lease (2 s for the 15 s there), several beats of its
reloading (1 s for 5 s) and the first back-offs of Pub/Sub. Whatever lasts longer changes nothing any more: back-offs
have reached their longest, and deliveries are not used up (`functions.batch.handler.OUTAGE`, held by a unit test).
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from deploy.local.cluster.running import running_cluster
from deploy.local.stack import Stack
from deploy.local.target import simulated_target
from tests.chaos.inspector import Inspector
from tests.chaos.receiver import Receiver, receiving
from tests.integration.access import Answer, Tasks, request, until
from tests.relay import Relay, relayed

NODES = 4
FROZEN_SECONDS = 7.0
"""Longer than a call may take, so that every caller has been answered."""
REFUSED_SECONDS = 3.0
BACK_SECONDS = 90.0
"""How soon all that waited must be done, on a machine that is busy."""
ANSWER_SECONDS = 20.0
"""How soon whoever asks must be answered, the same; no call takes longer than eight seconds by itself."""
PUSHED = ("batch", "tracker", "notify")


@dataclass
class Land:
    """A stack whose every part can be taken away."""

    stack: Stack
    inspector: Inspector
    receiver: Receiver
    hook: str
    relays: dict[str, list[Relay]]
    pushes: list[Relay]
    ids: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> Tasks:
        return Tasks(self.stack)

    def post(self, name: str, **fields: object) -> Answer:
        """Ask for a task of two batches, under a key of its own."""
        body = {"images": [f"registry.example/outage/{name}:1"], "batchSize": 2, "webhookUrl": self.hook, **fields}
        return request(f"{self.stack.api_url}/api/v1/tasks", "POST", body, {"Idempotency-Key": name})

    def create(self, name: str, **fields: object) -> str:
        answer = self.post(name, **fields)
        assert answer.status in {200, 201}, answer
        task_id = str(answer.body["taskId"])
        if task_id not in self.ids:
            self.ids.append(task_id)
        return task_id

    def freeze(self, part: str) -> None:
        """Let nothing through; Pub/Sub does not push either, and an outage of its own uses up no deliveries."""
        for relay in self.relays[part] + (self.pushes if part == "pubsub" else []):
            relay.freeze()

    def refuse(self, part: str) -> None:
        for relay in self.relays[part]:
            relay.refuse()

    def mend(self) -> None:
        for relay in [*self.pushes, *(one for relays in self.relays.values() for one in relays)]:
            relay.mend()


def push_through(stack: Stack, pubsub: str, relays: dict[str, Relay]) -> None:
    """Have Pub/Sub push by way of the relays."""
    base = f"http://{pubsub}/v1/projects/{stack.project}/subscriptions"
    for subscription in request(base).body["subscriptions"]:
        endpoint = subscription["pushConfig"]["pushEndpoint"]
        for function, relay in relays.items():
            if endpoint.startswith(f"{stack.url(function)}/"):
                changed = endpoint.replace(stack.url(function), f"http://{relay.address}")
                name = subscription["name"].rpartition("/")[2]
                body = {"pushConfig": {"pushEndpoint": changed}}
                assert request(f"{base}/{name}:modifyPushConfig", "POST", body).status == 200


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, emulators: dict[str, str], coverage_env: dict[str, str]
) -> Iterator[Land]:
    folder = tmp_path_factory.mktemp("outages")
    receiver = Receiver(Random(0), refuse=0)
    with ExitStack() as cleanup:
        started = cleanup.enter_context
        scenario = folder / "scenario.yaml"
        scenario.write_text("kubelet: {bandwidth_mib: 1000}\n")
        cluster = started(running_cluster(folder / "cluster", nodes=NODES, scenario=scenario))
        simulated_target(cluster.directory)
        relays = {
            "firestore": started(relayed(emulators["firestore"])),
            "pubsub": started(relayed(emulators["pubsub"])),
            "cluster": started(relayed(cluster.url.removeprefix("https://"))),
        }
        kubeconfig = _through(cluster.kubeconfig, relays["cluster"], folder)
        stack = started(
            Stack(
                kubeconfig=cluster.kubeconfig,
                emulators={name: relays[name].address for name in emulators},
                env={
                    "IPS_CLUSTERS": json.dumps({"default": {"kubeconfig": str(kubeconfig), "context": "ips"}}),
                    "IPS_LEASE_SECONDS": "2",
                    "STATUS_POLL_INTERVAL": "1",
                    "MAX_CONCURRENT_TASKS": "2",
                    **coverage_env,
                },
            )
        )
        pushes = {name: started(relayed(stack.url(name).removeprefix("http://"))) for name in PUSHED}
        push_through(stack, emulators["pubsub"], pushes)
        yield Land(
            stack,
            Inspector(stack, emulators["firestore"], emulators["pubsub"]),
            receiver,
            started(receiving(receiver)),
            {name: [relay] for name, relay in relays.items()},
            list(pushes.values()),
        )


def _through(kubeconfig: Path, relay: Relay, folder: Path) -> Path:
    content = yaml.safe_load(kubeconfig.read_text())
    for cluster in content["clusters"]:
        cluster["cluster"]["server"] = f"https://{relay.address}"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def land(running: Land) -> Iterator[Land]:
    yield running
    running.mend()


def timed(send: Callable[[], Answer]) -> tuple[Answer, float]:
    began = time.monotonic()
    return send(), time.monotonic() - began


def asked(land: Land, part: str, task_id: str, mode: str) -> dict[str, tuple[Answer, float]]:
    """Ask everything that can be asked, all at once; what, and how it was answered in how many seconds."""
    tasks = f"{land.stack.api_url}/api/v1/tasks"
    questions: dict[str, Callable[[], Answer]] = {
        "create": lambda: land.post(f"{part}-{mode}"),
        "read": lambda: request(f"{tasks}/{task_id}"),
        "list": lambda: request(tasks),
        "nodes": lambda: request(f"{tasks}/{task_id}/nodes"),
        "gate": lambda: request(f"{tasks}/{task_id}/gate"),
        "ready": lambda: request(f"{land.stack.api_url}/ready"),
        "health": lambda: request(f"{land.stack.api_url}/health"),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        answers: dict[str, Future[tuple[Answer, float]]] = {
            name: pool.submit(timed, send) for name, send in questions.items()
        }
        return {name: answer.result() for name, answer in answers.items()}


def begun(land: Land, part: str) -> str:
    """Make tasks that run, one in the middle of its batches, and one that waits for a slot; returns the first."""
    first = land.create(f"{part}-slow2")
    land.create(f"{part}-second-slow2")
    land.create(f"{part}-waiting")
    until(lambda: land.inspector.kube.jobs(first), "the first Jobs appear")
    return first


def resumed(land: Land) -> None:
    """Mend everything and wait until all tasks ever accepted are done as promised."""
    land.mend()
    left = land.inspector.left(land.ids, land.receiver, BACK_SECONDS)
    assert not left, [land.tasks.get(task_id) for task_id in left]
    assert not land.inspector.violations(land.ids, land.receiver)
    stored: list[Any] = [land.inspector.store.task(task_id).task for task_id in land.ids]
    assert {task.status.value for task in stored} == {"completed"}
    total = land.inspector.store.list_tasks(limit=1).total
    assert total == len(land.ids), "a task that nobody was told of"


def check(answers: dict[str, tuple[Answer, float]], part: str, failing: set[str]) -> None:
    """Nothing hangs or breaks; what cannot be done now says so and when to ask again."""
    for name, (answer, seconds) in answers.items():
        assert seconds < ANSWER_SECONDS, (name, seconds)
        if name == "ready":
            assert answer.status == 503
            assert not answer.body["checks"][part]["ok"], answer
            assert part in answer.body["detail"]
        elif name in failing:
            assert answer.status == 503, (name, answer)
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.headers["Content-Type"] == "application/problem+json"
        else:
            assert answer.status in {200, 201, 202}, (name, answer)


@pytest.mark.parametrize(
    ("part", "named", "failing"),
    [
        ("firestore", "firestore", {"create", "read", "list", "nodes", "gate"}),
        # Whatever is stored is accepted: its messages are sent, and its nodes read, when that is possible again.
        ("pubsub", "pubsub", set()),
        ("cluster", "cluster/default", set()),
    ],
)
def test_an_outage_costs_time_but_nothing_else(land: Land, part: str, named: str, failing: set[str]) -> None:
    first = begun(land, part)
    for mode, begin, seconds in (("frozen", land.freeze, FROZEN_SECONDS), ("refused", land.refuse, REFUSED_SECONDS)):
        began = time.monotonic()
        begin(part)
        check(asked(land, part, first, mode), named, failing)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
    land.mend()
    # A caller does as told and asks again, under the same key: whatever came of the first time, there is one task.
    for mode in ("frozen", "refused"):
        land.create(f"{part}-{mode}")
    resumed(land)
