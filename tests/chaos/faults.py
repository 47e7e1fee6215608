"""What goes wrong: each fault is one small function; a seed decides which comes when."""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from deploy.local.cluster.running import RunningCluster
from deploy.local.stack import Stack
from ips_common.bus.pubsub import PubSubBus
from ips_common.errors import IPSError
from ips_common.models.message import BatchMessage, Kick
from ips_common.ports.store import Store
from tests.relay import Relay

FUNCTIONS = ("api", "batch", "tracker", "notify", "release")


@dataclass
class Faults:
    """Everything that can be broken, and how often it was."""

    stack: Stack
    cluster: RunningCluster
    firestore: Relay
    pubsub: Relay
    store: Store
    bus: PubSubBus
    random: Random
    nodes: int
    counts: Counter[str] = field(default_factory=Counter)
    _gone: list[str] = field(default_factory=list)

    def one(self) -> str:
        """Let one thing go wrong; returns what."""
        kinds: list[tuple[int, Callable[[], str]]] = [
            (3, self._kill),
            (2, self._cut),
            (4, self._redeliver),
            (3, self._api_faults),
            (1, self._unavailable),
            (2, self._cut_watches),
            (2, self._node),
            (1, self._tokens),
        ]
        (fault,) = self.random.choices([fault for _, fault in kinds], [weight for weight, _ in kinds])
        what = fault()
        self.counts[fault.__name__.strip("_")] += 1
        return what

    def stop(self) -> None:
        """Mend everything."""
        self.cluster.command("faults/clear", {})
        for name in self._gone:
            self.cluster.command(f"nodes/{name}", {"gone": False})

    def _kill(self) -> str:
        name = self.random.choice(FUNCTIONS)
        self.stack.kill(name)
        return f"kill -9 {name}"

    def _cut(self) -> str:
        relay = self.random.choice((self.firestore, self.pubsub))
        relay.cut()
        return f"connections to {'Firestore' if relay is self.firestore else 'Pub/Sub'} cut"

    def _redeliver(self) -> str:
        """Publish again what was published before, or might be: any batch of any task, any kick."""
        messages: list[BatchMessage | Kick] = [Kick(cluster="default")]
        with contextlib.suppress(IPSError):
            for task in self.store.list_tasks(limit=20).tasks:
                messages += [
                    BatchMessage(task_id=task.task_id, attempt=task.attempt, batch=number)
                    for number in range(1, task.opened + 1)
                    if self.random.random() < 0.3
                ]
            self.bus.publish(messages)
        return f"{len(messages)} messages once more"

    def _api_faults(self) -> str:
        fault = self.random.choice(
            (
                {"status": 429, "retry_after": 1},
                {"status": 500},
                {"status": 503},
                {"status": 504},
                {"drop": "before"},
                {"drop": "after"},
                {"latency_seconds": 0.5},
            )
        )
        self.cluster.command("faults", {**fault, "users": ["ips*"], "share": 0.4, "seconds": 4})
        return f"API server: {fault}"

    def _unavailable(self) -> str:
        self.cluster.command("unavailable", {"seconds": 5})
        return "API server away for 5 s"

    def _cut_watches(self) -> str:
        self.cluster.command("watches/cut", {})
        return "watches cut"

    def _node(self) -> str:
        name = f"node-{self.random.randrange(self.nodes):05}"
        if self._gone and self.random.random() < 0.5:
            name = self._gone.pop()
            self.cluster.command(f"nodes/{name}", {"gone": False})
            return f"{name} comes back as another node"
        self._gone.append(name)
        self.cluster.command(f"nodes/{name}", {"gone": True})
        return f"{name} vanishes"

    def _tokens(self) -> str:
        self.cluster.command("tokens/expire", {"user": "ips", "renew": True})
        return "tokens expire"
