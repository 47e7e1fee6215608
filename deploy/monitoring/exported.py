"""The metrics that the code exports, found out by asking a real api function that has seen some of everything."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from functions.api.app import create_app
from functions.api.deps import Deps
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.store.memory import MemoryStore

TARGET_LABELS = frozenset({"job", "instance"})
"""What Prometheus itself puts on every series that it scrapes."""

_OPEN = frozenset({"image", "target_cluster", "method", "le", *TARGET_LABELS})
"""Labels whose values depend on the installation."""


@dataclass(slots=True)
class Exported:
    """Series by name: their labels, and each label's values; and the type of each family."""

    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    values: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    types: dict[str, str] = field(default_factory=dict)

    def is_open(self, label: str) -> bool:
        """Whether the label may have other values than those seen."""
        return label in _OPEN

    def add(self, name: str, labels: Mapping[str, str]) -> None:
        """Note one series."""
        self.labels[name] |= {*labels, *TARGET_LABELS}
        for label, value in labels.items():
            self.values[name, label].add(value)


def exported() -> Exported:
    """Render `/metrics` and read it."""
    found = Exported()
    for family in text_string_to_metric_families(_rendered()):
        found.types[family.name] = family.type
        for sample in family.samples:
            found.add(sample.name, sample.labels)
    return found


def _rendered() -> str:
    store = MemoryStore(max_concurrent_tasks=1)
    app = create_app(
        Deps(
            store=store,
            bus=MemoryBus(),
            clusters=MemoryClusters(MemoryCluster("default", 1)),
            max_pending_tasks=10,
            figures_max_age=0.0,
            gate_interval=0.01,
            now=lambda: datetime.now(UTC),
        )
    )
    client = app.test_client()
    tasks = "/api/v1/tasks"
    ended, *_ = (client.post(tasks, json={"images": ["nginx:1.29"]}).get_json()["taskId"] for _ in range(3))
    client.delete(f"{tasks}/{ended}")
    store.acquire_lease("default", "a tracker", None)
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            client.get(re.sub(r"<\w+>", ended, rule.rule))
    store.down = True
    client.get(tasks)
    store.down = False
    return client.get("/metrics").get_data(as_text=True)
