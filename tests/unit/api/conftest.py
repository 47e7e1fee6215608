"""The API in front of a store, a bus and a cluster in memory, on a clock that tests set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from functions.api.app import create_app
from functions.api.deps import Deps
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.models.results import ImageResult, NodeResult, NodeStatus, Problem, Reason
from ips_common.models.task import Task, TaskSpec
from ips_common.ports.store import StoredShard
from ips_common.reconcile import settle
from ips_common.store.memory import MemoryStore

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TASKS = "/api/v1/tasks"


@dataclass
class Api:
    """The API and everything around it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    bus: MemoryBus = field(default_factory=MemoryBus)
    cluster: MemoryCluster = field(default_factory=lambda: MemoryCluster("default", 3))
    more_clusters: tuple[MemoryCluster, ...] = ()
    max_pending_tasks: int = 100
    deps: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = START

    def __post_init__(self) -> None:
        serial = count(1)
        self.clusters = MemoryClusters(self.cluster, *self.more_clusters)
        given: dict[str, Any] = {
            "store": self.store,
            "bus": self.bus,
            "clusters": self.clusters,
            "max_pending_tasks": self.max_pending_tasks,
            "now": lambda: self.now,
            "random_hex": lambda: f"{next(serial):08x}",
            "gate_interval": 0.01,
            "figures_max_age": 0.0,
        }
        self.client: FlaskClient = create_app(Deps(**{**given, **self.deps})).test_client()

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def post(self, body: object = None, *, headers: Mapping[str, str] | None = None, query: str = "") -> TestResponse:
        """Ask for a task."""
        return self.client.post(
            TASKS + query, json={"images": ["nginx:1.27"]} if body is None else body, headers=dict(headers or {})
        )

    def create(self, **fields: object) -> str:
        """Create a task and return its id."""
        answer = self.post({"images": ["nginx:1.27"], **fields})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return str(answer.get_json()["taskId"])

    def store_waiting(self, **fields: object) -> str:
        """Put a task into the store that nobody has started yet, as if its creator had died."""
        self.pass_seconds(1)
        spec = TaskSpec.model_validate({"images": ["nginx:1.27"], **fields})
        task = Task(task_id=f"waiting-{self.now:%H%M%S}", spec=spec, created_at=self.now)
        self.store.create_task(task)
        return task.task_id

    def get(self, path: str, **headers: str) -> TestResponse:
        """Ask for a path."""
        return self.client.get(path, headers=headers)

    def task(self, task_id: str) -> dict[str, Any]:
        """Read a task as callers do."""
        answer = self.get(f"{TASKS}/{task_id}")
        assert answer.status_code == 200
        document: dict[str, Any] = answer.get_json()
        return document

    def settle(self, task_id: str, *results: NodeResult) -> None:
        """Record results for the first nodes of a task that have none."""
        stored = self.store.task(task_id)
        left = list(results)
        for item in self.store.all_shards(task_id):
            free = [position for position, node in enumerate(item.shard.nodes) if node.result is None]
            taken = {position: left.pop(0) for position in free[: len(left)]}
            task, shard = settle(stored.task, item.shard, taken)
            stored = self.store.save(stored, task, [StoredShard(shard, item.version)])[0]
        assert not left

    def change(self, task_id: str, **fields: object) -> None:
        """Change a stored task as other functions would."""
        self.store.transition(task_id, lambda task: task.model_copy(update=fields))

    def pulled(self, image: str = "nginx:1.27", digest: str = "sha256:aa") -> NodeResult:
        """A node that pulled its image."""
        return NodeResult(NodeStatus.SUCCEEDED, (ImageResult(image, digest),), self.now)

    def failed(self, reason: Reason = Reason.IMAGE_NOT_FOUND, image: str = "nginx:1.27") -> NodeResult:
        """A node that could not pull its image."""
        problem = Problem(reason, "as the kubelet put it", reason.retryable)
        return NodeResult(NodeStatus.FAILED, (ImageResult(image, problem=problem),), self.now)


@pytest.fixture
def api() -> Api:
    """An API in front of three healthy nodes."""
    return Api()


def problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is this problem and return its document."""
    document: dict[str, Any] = answer.get_json()
    assert (answer.status_code, document["code"]) == (status, code), document
    assert answer.content_type == "application/problem+json"
    assert document["status"] == status
    assert document["type"] == "about:blank"
    assert document["title"]
    assert document["detail"]
    assert document["requestId"] == answer.headers["X-Request-Id"]
    return document


def fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the bad fields of a problem with their messages."""
    return {error["field"]: error["message"] for error in document["errors"]}
