"""The promises, read from where the truth is: Firestore, the cluster, the webhook receiver."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ips_common.models.task import Task, TaskStatus
from ips_common.ports.store import Store
from tests.chaos.receiver import Receiver


def violations(tasks: Sequence[str], store: Store, slots: Sequence[str], jobs: Any, receiver: Receiver) -> list[str]:
    """Return every broken promise, in words.

    Args:
        tasks: ids of all accepted tasks.
        store: where they are kept.
        slots: ids of tasks that hold a slot.
        jobs: all Jobs in the cluster, as the official client gives them.
        receiver: what webhooks were received.
    """
    found = [f"slot held by {task_id}" for task_id in slots]
    for task_id in tasks:
        task = store.task(task_id).task
        found += [f"{task_id}: {problem}" for problem in _of_task(task, store)]
        found += [f"{task_id}: {problem}" for problem in _of_jobs(task, jobs)]
        if receiver.tasks.get(task_id) != task.status.value:
            told = receiver.tasks.get(task_id, "nothing")
            found.append(f"{task_id}: {task.status.value}, but the webhook told {told}")
    return found


def _of_task(task: Task, store: Store) -> Iterator[str]:
    if not task.status.final:
        yield f"not settled: {task.status.value} ({task.pending_reason})"
        return
    if task.cleanup:
        yield "Jobs may be left"
    if task.status is TaskStatus.CANCELLED:
        return
    if task.completed_nodes + task.failed_nodes != task.total_nodes:
        yield f"{task.completed_nodes} + {task.failed_nodes} nodes of {task.total_nodes}"
    states = [state for _, state in store.nodes(task.task_id, limit=10_000).nodes]
    names = Counter(state.name for state in states)
    yield from (f"{count} results of {name}" for name, count in names.items() if count != 1)
    results = [state.result for state in states]
    if None in results:
        yield f"{results.count(None)} nodes without a result"
    if len(states) != task.total_nodes:
        yield f"{len(states)} node entries of {task.total_nodes}"
    if sum(bool(result and result.succeeded) for result in results) != task.completed_nodes:
        yield "completedNodes is not what the nodes say"


def _of_jobs(task: Task, jobs: Any) -> Iterator[str]:
    for job in jobs:
        if job.metadata.labels["task-id"] != task.task_id:
            continue
        if task.status is TaskStatus.CANCELLED:
            yield f"cancelled, but Job {job.metadata.name} is there"
        elif not any(condition.type in {"Complete", "Failed"} for condition in job.status.conditions or ()):
            yield f"over, but Job {job.metadata.name} still runs"
