"""Tasks, shards and results to store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, TypeVar

from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason, Shard
from ips_common.models.task import PendingReason, Task, TaskSpec, TaskStatus
from ips_common.ports.store import Store, StoredTask

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NO_ROOM = Problem(Reason.DISK_FULL, "no space left on device", retryable=True)

T = TypeVar("T")


def new_task(number: int = 0, **changes: Any) -> Task:
    """The `number`th task, created so many seconds after `START`; unknown names are fields of the request."""
    fields = {name: changes.pop(name) for name in list(changes) if name in TaskSpec.model_fields}
    spec = TaskSpec.model_validate({"images": ["nginx:1.29"], **fields})
    return Task(task_id=f"task-{number:04d}", spec=spec, created_at=START + timedelta(seconds=number)).model_copy(
        update=changes
    )


def put(store: Store, task: Task) -> StoredTask:
    """Store a task and read it."""
    store.create_task(task)
    return store.task(task.task_id)


def waiting(task: Task) -> Task:
    """The task in its cluster's queue."""
    return task.model_copy(update={"status": TaskStatus.PENDING, "pending_reason": PendingReason.SLOT})


def running(task: Task, **changes: Any) -> Task:
    """The task while it runs."""
    return task.model_copy(
        update={"status": TaskStatus.RUNNING, "pending_reason": None, "started_at": START, **changes}
    )


def finished(task: Task, status: TaskStatus = TaskStatus.COMPLETED, **changes: Any) -> Task:
    """The task a minute and a half after it started."""
    return task.model_copy(
        update={
            "status": status,
            "pending_reason": None,
            "finished_at": (task.started_at or task.created_at) + timedelta(seconds=90),
            **changes,
        }
    )


def pulled(images: tuple[str, ...] = ("nginx:1.29",), digest: str = "sha256:1f", at: datetime = START) -> NodeResult:
    """The result of a node that holds all images."""
    return NodeResult(NodeStatus.SUCCEEDED, tuple(ImageResult(image, digest) for image in images), at)


def broken(images: tuple[str, ...] = ("nginx:1.29",), problem: Problem = NO_ROOM, at: datetime = START) -> NodeResult:
    """The result of a node that lacks all images."""
    return NodeResult(NodeStatus.FAILED, tuple(ImageResult(image, problem=problem) for image in images), at)


def new_shard(index: int = 0, nodes: int = 3, attempt: int = 0, result: NodeResult | None = None) -> Shard:
    """A shard of nodes that all have the same result."""
    return Shard(
        attempt,
        index,
        tuple(
            NodeState(f"node-{index:03d}-{position:03d}", f"uid-{index}-{position}", result)
            for position in range(nodes)
        ),
    )


def at_once(calls: list[Callable[[], T]]) -> list[T | Exception]:
    """Make all calls at the same moment, one thread each; returns what each returned or raised."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T | Exception:
        barrier.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - the outcome is what the test looks at
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
