"""The product under measurement: a stack with counters before Firestore, Pub/Sub and the API server."""

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.parts import running_emulator
from deploy.local.stack import Stack
from tests.bench.bare import Login
from tests.contract.relay import Relay, relaying

FUNCTIONS = ("api", "batch", "tracker", "notify", "release")


@dataclass
class Product:
    """A running stack and what counts its operations."""

    stack: Stack
    relay: Relay

    def post(self, images: list[str], **fields: object) -> str:
        """Create a task; returns its id."""
        body = json.dumps({"images": images, **fields}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.stack.api_url}/api/v1/tasks", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(json.load(answer)["taskId"])

    def get(self, task_id: str) -> Any:
        """Read a task."""
        with urllib.request.urlopen(f"{self.stack.api_url}/api/v1/tasks/{task_id}", timeout=60) as answer:
            return json.load(answer)

    def wait(self, task_id: str, seconds: float = 600) -> Any:
        """Wait until a task has ended; polls with its own reads, which `store_operations` leaves out."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            task = self.get(task_id)
            self.relay.read -= 1
            if task["status"] not in {"pending", "running"}:
                return task
            time.sleep(0.1)
        raise TimeoutError(f"task {task_id} did not end")

    def memory(self, function: str) -> float:
        """Return the peak resident memory of a function's largest process, in MiB."""
        group = self.stack.pid(function)
        peaks = [0.0]
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if int(status.with_name("stat").read_text().rsplit(")", 1)[1].split()[2]) != group:
                    continue
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                peaks.append(int(fields["VmHWM"].split()[0]) / 1024)
            except (OSError, KeyError, IndexError):
                continue  # it ended while we looked
        return max(peaks)

    async def _sim(self, path: str, method: str = "GET") -> Any:
        async with Login.of(self.stack).session() as session, session.request(method, f"/sim/{path}") as answer:
            return await answer.json()

    def reset(self) -> None:
        """Begin to count."""
        asyncio.run(self._sim("requests/reset", "POST"))
        self.relay.read = self.relay.written = 0

    def requests(self) -> Counter[str]:
        """Return the API server's requests by the functions since `reset`: writes, reads, watches."""
        counts: Counter[str] = Counter()
        for entry in asyncio.run(self._sim("requests")):
            if entry["user"].startswith("ips-functions"):
                verb = entry["verb"]
                kind = "watches" if verb == "watch" else "reads" if verb in {"get", "list"} else "writes"
                counts[kind] += entry["count"]
        return counts


@contextmanager
def product(nodes: int, scenario: str) -> Iterator[Product]:
    """Run a stack of `nodes` simulated nodes behind counters."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "scenario.yaml").write_text(scenario, encoding="utf-8")
        (path / "firestore").mkdir()
        (path / "pubsub").mkdir()
        with (
            running_emulator(FIRESTORE, path / "firestore") as firestore,
            running_emulator(PUBSUB, path / "pubsub") as pubsub,
            relaying(firestore) as (relay, address),
            Stack(
                nodes=nodes,
                scenario=path / "scenario.yaml",
                emulators={"firestore": address, "pubsub": pubsub},
                env={"LOG_LEVEL": "WARNING"},
            ) as stack,
        ):
            yield Product(stack, relay)
