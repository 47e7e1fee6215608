"""Which changes of a task the store takes, how queues sort, and how long documents are kept."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_common.errors import TaskFinished
from ips_common.models.task import Task, TaskSpec, TaskStatus, queue_order
from ips_common.store.lifecycle import check_change, queue_key, queue_prefix
from ips_common.store.retention import shard_expiry

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FINAL = [status for status in TaskStatus if status.final]


def task(number: int = 1, **fields: object) -> Task:
    spec = TaskSpec.model_validate({"images": ["nginx"], **fields})
    return Task(task_id=f"task-{number}", spec=spec, created_at=START + timedelta(microseconds=number))


def in_status(status: TaskStatus) -> Task:
    return task().model_copy(update={"status": status})


@pytest.mark.parametrize("before", FINAL)
@pytest.mark.parametrize("after", list(TaskStatus))
def test_a_final_status_stays(before: TaskStatus, after: TaskStatus) -> None:
    if before is after:
        check_change(in_status(before), in_status(after))
    else:
        with pytest.raises(TaskFinished):
            check_change(in_status(before), in_status(after), starting=True)


def test_another_task_or_cluster_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="task-2"):
        check_change(task(1), task(2))
    with pytest.raises(ValueError, match="other"):
        check_change(task(), task(cluster="other"))


@given(
    st.lists(
        st.builds(lambda priority, number: task(number, priority=priority), st.integers(1, 10), st.integers(0, 10**9)),
        unique_by=lambda one: one.task_id,
    )
)
def test_queue_keys_sort_as_the_queue_does(tasks: list[Task]) -> None:
    assert sorted(tasks, key=queue_key) == sorted(tasks, key=queue_order)


@pytest.mark.parametrize("other", ["default-2", "default2", "defaul", "a"])
def test_a_queue_holds_only_its_own_cluster(other: str) -> None:
    prefix = queue_prefix("default")
    assert prefix <= queue_key(task()) < prefix + "~"
    assert not prefix <= queue_key(task(cluster=other)) < prefix + "~"


def test_shards_outlive_the_slowest_task() -> None:
    slow = task(timeout_seconds=7200, max_retries=5, batch_size=1).model_copy(update={"batches": 5000})
    kept = shard_expiry(slow, START, timedelta(days=30)) - START
    assert kept > timedelta(seconds=6 * 5000 * 7200) + timedelta(days=30)
    assert shard_expiry(task(), START, timedelta(days=30)) - START < timedelta(days=61)
