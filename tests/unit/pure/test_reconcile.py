"""Arithmetic of batches, counts and what follows from them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ips_common.models.node import Node
from ips_common.models.results import ImageResult, NodeResult, NodeStatus, Problem, Reason, Shard
from ips_common.models.task import OpenBatch, Task, TaskSpec, TaskStatus
from ips_common.planning import Plan, begin, plan
from ips_common.reconcile import advance, is_settled, resend_at, retry_delay, settle

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def new(**fields: object) -> Task:
    spec = TaskSpec.model_validate({"images": ["nginx:1"], **fields})
    return Task(task_id="task-1", spec=spec, created_at=NOW)


def nodes(count: int) -> tuple[Node, ...]:
    return tuple(Node(f"node-{index:05}", f"uid-{index}", {}) for index in range(count))


@given(size=st.integers(1, 100), count=st.integers(1, 700), skipped=st.integers(0, 50))
def test_batches_cover_every_node_once_and_lie_within_one_shard(size: int, count: int, skipped: int) -> None:
    task, shards = begin(new(batchSize=size), Plan(nodes(count), nodes(count + skipped)[count:], {}), NOW)
    covered: list[str] = []
    for batch in range(1, task.batches + 1):
        shard = shards[task.shard_of(batch)]
        part = shard.nodes[task.slice_of(batch)]
        assert 1 <= len(part) <= size
        assert all(task.batch_of(shard.index, shard.nodes.index(node)) == batch for node in part)
        covered += [node.name for node in part]
    assert covered == [node.name for node in nodes(count)]
    assert sum(len(shard.nodes) for shard in shards) == count + skipped
    assert max(len(shard.nodes) for shard in shards) <= 100


@given(
    size=st.integers(1, 20),
    window=st.integers(1, 20),
    outcomes=st.lists(st.booleans(), min_size=1, max_size=120),
    data=st.data(),
)
def test_window_is_kept_and_counts_add_up_whatever_the_order(
    size: int, window: int, outcomes: list[bool], data: st.DataObject
) -> None:
    task, shards = begin(new(batchSize=size, maxConcurrentBatches=window), Plan(nodes(len(outcomes)), (), {}), NOW)
    by_index = {shard.index: shard for shard in shards}
    task = advance(task, (), NOW).task
    waiting: list[tuple[int, int, int]] = []
    known: set[int] = set()
    while task.status is TaskStatus.RUNNING:
        assert 1 <= len(task.open_batches) <= window
        numbers = [batch.number for batch in task.open_batches]
        assert numbers == sorted(numbers)
        for number in set(numbers) - known:
            place, index = task.slice_of(number), task.shard_of(number)
            waiting += [(number, index, position) for position in range(place.start, place.stop)]
        known |= set(numbers)
        number, index, position = waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))
        good = outcomes[index * task.shard_size + position]
        task, by_index[index] = settle(task, by_index[index], {position: result(ok=good)})
        task = advance(task, {number} if is_settled(task, by_index[index], number) else (), NOW).task
    assert task.completed_nodes == sum(outcomes)
    assert task.failed_nodes == len(outcomes) - sum(outcomes)
    assert task.opened == task.batches
    enough = sum(outcomes) / len(outcomes) >= task.spec.success_threshold
    assert task.status is (TaskStatus.COMPLETED if enough else TaskStatus.FAILED)


def result(*, ok: bool) -> NodeResult:
    problem = None if ok else Problem(Reason.IMAGE_NOT_FOUND, "not found", retryable=False)
    return NodeResult(
        NodeStatus.SUCCEEDED if ok else NodeStatus.FAILED,
        (ImageResult("nginx:1", "sha256:a" if ok else "", problem),),
        NOW,
    )


def test_first_result_stands() -> None:
    task, (shard,) = begin(new(), Plan(nodes(1), (), {}), NOW)
    task, shard = settle(task, shard, {0: result(ok=True)})
    again, same = settle(task, shard, {0: result(ok=False)})
    assert again is task
    assert same is shard


def test_settling_nothing_changes_nothing() -> None:
    task, (shard,) = begin(new(), Plan(nodes(1), (), {}), NOW)
    assert settle(task, shard, {}) == (task, shard)


def test_retry_delay_grows_by_policy() -> None:
    linear = new(retryPolicy="linear", retryDelaySeconds=10, maxRetries=5)
    exponential = new(retryPolicy="exponential", retryDelaySeconds=10, maxRetries=5)
    delays = [
        [retry_delay(task.model_copy(update={"attempt": attempt})).total_seconds() for attempt in range(4)]
        for task in (linear, exponential)
    ]
    assert delays == [[10, 20, 30, 40], [10, 20, 40, 80]]


def test_resending_slows_down_to_a_minute() -> None:
    waits = [
        (resend_at(OpenBatch(number=1, opened_at=NOW, sent_at=NOW, sends=sends)) - NOW).total_seconds()
        for sends in range(1, 6)
    ]
    assert waits == [10, 20, 40, 60, 60]
    assert resend_at(OpenBatch(number=1, opened_at=NOW)) <= NOW + timedelta(0)


def test_exclusions_are_counted_by_reason() -> None:
    snapshot = [
        Node("ok", "u", {}),
        Node("down", "u", {}, ready=False),
        Node("cordoned", "u", {}, schedulable=False),
        Node("windows", "u", {}, linux=False),
        Node("full", "u", {}, disk_pressure=True),
    ]
    planned = plan(new().spec, snapshot)
    assert [node.name for node in planned.nodes] == ["ok"]
    assert planned.excluded == {"NotReady": 1, "Unschedulable": 1, "NotLinux": 1, "DiskPressure": 1}


def test_shard_of_a_large_task_stays_small() -> None:
    assert isinstance(begin(new(batchSize=7), Plan(nodes(5000), (), {}), NOW)[1][0], Shard)
    assert new(batchSize=7).shard_size == 98
