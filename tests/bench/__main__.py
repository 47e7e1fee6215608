"""Measure the product's figures and print them, each with its bar; the exit status says whether all are met."""

import asyncio
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any

from deploy.local.stack import Stack
from ips_common.cluster.configured import ConfiguredClusters
from ips_common.config import ClusterSettings
from ips_common.manifests import job
from ips_common.models.task import Task, TaskSpec
from ips_common.observe import JobSeen, PodSeen
from ips_common.ports.cluster import Cluster, Creation
from tests.bench.bare import Login, create, create_and_wait, delete_all
from tests.bench.product import FUNCTIONS, Product, product

FAST = "images: [{pattern: '*', seconds: 0.2}]\nkubelet: {events: false}\n"
USUAL = "images: [{pattern: '*', seconds: 2}]\nkubelet: {events: false}\n"


@dataclass(frozen=True)
class Figure:
    """One measured figure and the bar it is held to."""

    name: str
    value: float
    bar: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the bar is reached."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{'ok  ' if self.met else 'MISS'} {self.name:<64} {self.value:>9.3f}  {sign} {self.bar:g}"


def say(text: str) -> None:
    """Tell how the measurement goes on."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def manifests(task_id: str, count: int, image: str) -> list[Any]:
    """Return the Jobs the product would create for `count` nodes."""
    spec = TaskSpec.model_validate({"images": [image]})
    task = Task(task_id=task_id, spec=spec, created_at=datetime.now(UTC))
    return [
        job(
            task,
            1,
            f"node-{index:05}",
            namespace="ips",
            worker_image="busybox:musl",
            worker_pull_policy="IfNotPresent",
            ttl_seconds=3600,
            request_id=None,
        )
        for index in range(count)
    ]


def adapter(stack: Stack) -> Cluster:
    """Return the product's cluster adapter, as an administrator."""
    settings = ClusterSettings(kubeconfig=str(stack.kubeconfig), context="admin")
    return ConfiguredClusters({"default": settings}, "ips").get("default")


def creation(stack: Stack, count: int = 1000, rounds: int = 3) -> Figure:
    """Jobs created per second by the adapter against the bare client, in turns."""
    cluster, ratios = adapter(stack), []
    cluster.ready(5)

    async def bare(name: str) -> float:
        async with Login.of(stack).session() as session:
            seconds = await create(session, manifests(name, count, "a.example/x:1"))
            await delete_all(session)
            return seconds

    async def clear() -> None:
        async with Login.of(stack).session() as session:
            await delete_all(session)

    for number in range(rounds):
        base = asyncio.run(bare(f"task-bare-{number}"))
        began = time.monotonic()
        outcomes = cluster.create_jobs(manifests(f"task-ours-{number}", count, "a.example/x:1"), timeout=120)
        ours = time.monotonic() - began
        assert all(outcome.creation is Creation.CREATED for outcome in outcomes)
        asyncio.run(clear())
        say(f"creation: bare {count / base:.0f}/s, ours {count / ours:.0f}/s")
        ratios.append(base / ours)
    return Figure("Jobs created per second, against the bare client", statistics.median(ratios), 0.8, at_least=True)


def whole(running: Product, count: int = 1000, rounds: int = 3) -> list[Figure]:
    """POST to `completed` of 1,000 nodes, 10 batches of 100 in flight, against create-and-wait; and what it costs."""
    ratios, requests, reads, writes = [], [], [], []

    async def bare(name: str) -> float:
        async with Login.of(running.stack).session() as session:
            seconds = await create_and_wait(session, manifests(name, count, f"{name}.example/x:1"), name)
            await delete_all(session)
            return seconds

    for number in range(rounds):
        base = asyncio.run(bare(f"task-wait-{number}"))
        running.reset()
        began = time.monotonic()
        task_id = running.post([f"whole-{number}.example/x:1"], batchSize=100, maxConcurrentBatches=10)
        task = running.wait(task_id)
        ours = time.monotonic() - began
        assert task["status"] == "completed", task
        ratios.append(ours / base)
        requests.append(running.requests())
        reads.append(running.relay.read / count)
        writes.append(running.relay.written / count)
        say(f"whole: bare {base:.2f} s, ours {ours:.2f} s")

        async def clear() -> None:
            async with Login.of(running.stack).session() as session:
                await delete_all(session)

        asyncio.run(clear())
    return [
        Figure("1,000 nodes, POST to completed, against create-and-wait", statistics.median(ratios), 1.15),
        Figure("API server writes per node", max(count["writes"] for count in requests) / 1000, 1.1),
        Figure("API server reads per node", max(count["reads"] for count in requests) / 1000, 0.1),
        Figure("Firestore documents written per node", max(writes), 0.1),
        Figure("Firestore documents read per node", max(reads), 0.1),
    ]


def barrier(running: Product, batches: int = 40, size: int = 5) -> list[Figure]:
    """Seconds between the last pod of a batch settled and the first Job of the next, as another watch sees them."""
    cluster, stop = adapter(running.stack), Event()
    watch = cluster.watch(stop, seconds=600)
    task_id = running.post(["barrier.example/x:1"], batchSize=size, skipPresent=False)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    done: set[str] = set()
    total = batches * size
    with watch:
        while len(done) < total:
            for event in watch.get(1.0):
                now = time.monotonic()
                match event:
                    case JobSeen(key=key) if key.task_id == task_id:
                        first.setdefault(key.batch, now)
                    case PodSeen(key=key, phase="Succeeded") if key.task_id == task_id and key.node not in done:
                        done.add(key.node)
                        last[key.batch] = now
    running.wait(task_id)
    gaps = sorted(first[number + 1] - last[number] for number in range(1, batches))
    say(f"barrier: {len(gaps)} gaps, p50 {statistics.median(gaps):.3f} s, max {gaps[-1]:.3f} s")
    p99 = gaps[min(len(gaps) - 1, int(len(gaps) * 0.99))]
    return [
        Figure("strict barrier, seconds to the next batch's first Job, p50", statistics.median(gaps), 0.3),
        Figure("strict barrier, p99", p99, 1.0),
    ]


def large(running: Product, nodes: int) -> tuple[float, float, float]:
    """One task over all nodes; returns seconds, API requests and Firestore documents per node."""
    running.reset()
    began = time.monotonic()
    task = running.wait(running.post(["large.example/x:1"], batchSize=100, maxConcurrentBatches=20))
    seconds = time.monotonic() - began
    assert task["status"] == "completed", task
    counts = running.requests()
    operations = (counts["writes"] + counts["reads"] + running.relay.read + running.relay.written) / nodes
    say(f"{nodes} nodes: {seconds:.1f} s, {operations:.3f} operations a node")
    return seconds / nodes, operations, seconds


def cold_start() -> list[Figure]:
    """Process start to first answer of each function, nothing else starting at the same time."""
    figures = []
    with Stack(nodes=1) as stack:
        for name in FUNCTIONS:
            stack.autorestart = False
            times = []
            for _ in range(3):
                stack.kill(name)
                began = time.monotonic()
                stack.start(name)
                _ask(f"{stack.url(name)}/health")
                times.append(time.monotonic() - began)
            say(f"cold start of {name}: {', '.join(f'{seconds:.2f}' for seconds in times)} s")
            figures.append(Figure(f"cold start of {name}, seconds", statistics.median(times), 2.0))
    return figures


def _ask(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()


def measure() -> list[Figure]:
    """Take all figures."""
    say("cold starts")
    figures = cold_start()
    say("1,000 nodes")
    with product(1000, USUAL) as running:
        running.wait(running.post(["warm.example/x:1"], batchSize=100, nodeSelector={"pool": "gpu"}))
        figures.append(creation(running.stack))
        figures += whole(running)
    with product(200, FAST) as running:
        say("barrier")
        running.wait(running.post(["warm.example/x:1"], batchSize=5, nodeSelector={"pool": "gpu"}))
        figures += barrier(running)
    with product(500, USUAL) as running:
        running.wait(running.post(["warm.example/x:1"], batchSize=100, nodeSelector={"pool": "gpu"}))
        small = large(running, 500)
    with product(5000, USUAL) as running:
        running.wait(
            running.post(["warm.example/x:1"], batchSize=100, maxConcurrentBatches=20, nodeSelector={"pool": "gpu"})
        )
        big = large(running, 5000)
        memory: Callable[[str], float] = running.memory
        figures += [Figure(f"memory of {name} at 5,000 nodes, MiB", memory(name), 256) for name in FUNCTIONS]
    figures.append(Figure("seconds per node at 5,000 nodes against 500", big[0] / small[0], 1.2))
    figures.append(Figure("operations per node at 5,000 nodes against 500", big[1] / small[1], 1.2))
    return figures


def main() -> int:
    """Measure and print."""
    figures = measure()
    sys.stdout.write("\n".join(map(str, figures)) + "\n")
    missed = [figure.name for figure in figures if not figure.met]
    sys.stdout.write(f"{len(figures) - len(missed)} of {len(figures)} figures meet their bar\n")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
