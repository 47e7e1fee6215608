"""Tasks, shards, reports and figures as documents."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from google.cloud.firestore_v1 import DELETE_FIELD, Increment
from hypothesis import given
from hypothesis import strategies as st

from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason, Shard
from ips_common.models.task import PendingReason, Task, TaskSpec, TaskStatus
from ips_common.store.figuredoc import DOCUMENTS, encode_increments, figure_id, figure_ids
from ips_common.store.ledger import Ledger
from ips_common.store.sharddoc import MESSAGE_LENGTH, decode_shard, encode_shard
from ips_common.store.taskdoc import decode_task, encode_task

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WEEK = timedelta(days=7)

times = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds have none
problems = st.builds(Problem, st.sampled_from(Reason), st.text(max_size=20), st.booleans())
images = st.builds(
    ImageResult, st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "sha256:1", "sha256:2"])
) | st.builds(ImageResult, st.sampled_from(["a", "b", "c"]), problem=problems)
results = st.builds(NodeResult, st.sampled_from(NodeStatus), st.lists(images, max_size=4).map(tuple), times)
states = st.builds(
    NodeState,
    st.text(max_size=5),
    st.text(max_size=5),
    st.none() | results,
    st.booleans(),
    st.lists(results, max_size=3).map(tuple),
)
shards = st.builds(Shard, st.integers(0, 5), st.integers(0, 99), st.lists(states, max_size=6).map(tuple))


def task(**changes: object) -> Task:
    spec = TaskSpec(images=("nginx",), node_selector={"a": "b"}, priority=7)
    return Task(task_id="task-1", spec=spec, created_at=START).model_copy(update=changes)


@given(shards)
def test_any_shard_survives_its_document(shard: Shard) -> None:
    document = encode_shard(shard)
    assert decode_shard(document) == shard
    assert encode_shard(decode_shard(document)) == document


def test_nodes_that_fare_alike_share_one_outcome() -> None:
    result = [
        NodeResult(NodeStatus.SUCCEEDED, (ImageResult("a", "sha256:1"), ImageResult("b", "sha256:2")), START)
        for _ in range(100)
    ]
    document = encode_shard(Shard(0, 0, tuple(NodeState(f"n{n}", "u", one) for n, one in enumerate(result))))
    assert document["outcomes"] == [{"status": "succeeded", "facts": [0, 1]}]
    assert document["results"] == [1] * 100
    decoded = decode_shard(document).nodes
    assert decoded[0].result
    assert decoded[99].result
    assert decoded[0].result.images is decoded[99].result.images


def test_a_long_message_is_shortened() -> None:
    problem = Problem(Reason.UNSCHEDULABLE, "x" * 1000, retryable=True)
    shard = Shard(0, 0, (NodeState("n", "u", NodeResult(NodeStatus.FAILED, (ImageResult("a", "", problem),), START)),))
    result = decode_shard(encode_shard(shard)).nodes[0].result
    assert result
    assert result.images[0].problem
    message = result.images[0].problem.message
    assert (len(message), message[-2:]) == (MESSAGE_LENGTH, "x…")


def test_beyond_the_budget_only_the_reason_is_kept() -> None:
    nodes = tuple(
        NodeState(
            f"n{number}",
            "u",
            NodeResult(
                NodeStatus.FAILED,
                (ImageResult("a", "", Problem(Reason.DISK_FULL, f"message {number}", retryable=True)),),
                START,
            ),
        )
        for number in range(5)
    )
    decoded = decode_shard(encode_shard(Shard(0, 0, nodes), message_budget=20))
    outcomes = [node.result for node in decoded.nodes if node.result]
    messages = [image.problem.message for outcome in outcomes for image in outcome.images if image.problem]
    assert messages == ["message 0", "message 1", "", "", ""]
    assert encode_shard(decoded, message_budget=20) == encode_shard(decoded)


def test_half_a_character_does_not_break_a_document() -> None:
    problem = Problem(Reason.POD_FAILED, "bad \ud800", retryable=True)
    shard = Shard(0, 0, (NodeState("n", "u", NodeResult(NodeStatus.FAILED, (ImageResult("a", "", problem),), START)),))
    assert encode_shard(shard)["facts"] == [{"reason": "PodFailed", "message": "bad ?", "retryable": True}]


def test_a_document_holds_plain_values_only() -> None:
    document = encode_task(task(pending_reason=PendingReason.SLOT), WEEK)
    assert type(document["status"]) is str
    assert type(document["spec"]["retryPolicy"]) is str
    assert type(document["spec"]["images"]) is list


def test_a_task_survives_its_document_and_fields_of_a_later_version_are_left_alone() -> None:
    one = task(image_digests={"nginx": {"": 1, "sha256:1": 2}}, excluded_nodes={"NotReady": 1})
    assert decode_task(encode_task(one, WEEK) | {"write": "x", "fromTheFuture": 1}) == one


def test_queries_find_tasks_by_what_they_wait_for() -> None:
    waiting = encode_task(task(pending_reason=PendingReason.SLOT), WEEK)
    assert (waiting["openIn"], waiting["queueKey"]) == (None, "default/093/20260102T030405.000000Z/task-1")
    started = encode_task(task(status=TaskStatus.RUNNING), WEEK)
    assert (started["openIn"], started["queueKey"], started["expireAt"]) == ("default", None, None)
    ended = encode_task(task(status=TaskStatus.FAILED, finished_at=START), WEEK)
    assert (ended["openIn"], ended["expireAt"]) == (None, START + WEEK)
    assert encode_task(task(status=TaskStatus.FAILED, finished_at=START, cleanup=True), WEEK)["openIn"] == "default"


def test_tasks_are_spread_over_the_figures() -> None:
    used = {figure_id(f"task-{number}") for number in range(200)}
    assert used == set(figure_ids())
    assert len(used) == DOCUMENTS


def test_images_asked_for_least_make_room_in_the_figures() -> None:
    current = {"images": {f"old-{number:03d}": 1000 - number for number in range(150)}}
    changes = encode_increments(Ledger(images=Counter(["new-1", "new-2", "old-149"])), current)["images"]
    assert changes == {
        "new-1": Increment(1),
        "new-2": Increment(1),
        "old-149": Increment(1),
        "old-147": DELETE_FIELD,
        "old-148": DELETE_FIELD,
    }


def test_nothing_to_count_leaves_no_empty_fields() -> None:
    assert encode_increments(Ledger(tasks=Counter(completed=1)), {}) == {"tasks": {"completed": Increment(1)}}
