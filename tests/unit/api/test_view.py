"""The wire form of tasks and nodes."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from ips_common.models.node_view import NodeView
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus, Problem, Reason
from ips_common.models.task import PendingReason, Task, TaskSpec, TaskStatus
from ips_common.models.view import TaskView, estimated_completion, progress
from tests.unit.api.conftest import START


def task(**fields: Any) -> Task:
    return Task(task_id="task-1", spec=TaskSpec(images=("nginx",)), created_at=START, **fields)


@pytest.mark.parametrize(
    ("completed", "total", "percentage"), [(0, 0, 0.0), (0, 3, 0.0), (1, 3, 33.33), (2, 3, 66.67), (4999, 5000, 99.98)]
)
def test_percentage_is_completed_of_total(completed: int, total: int, percentage: float) -> None:
    assert progress(task(completed_nodes=completed, total_nodes=total)).percentage == percentage


class TestEstimatedCompletion:
    NOW = START + timedelta(seconds=100)

    def estimate(self, **fields: Any) -> datetime | None:
        return estimated_completion(
            task(**{"status": TaskStatus.RUNNING, "started_at": START, "total_nodes": 10, **fields}), self.NOW
        )

    def test_goes_on_at_the_pace_so_far(self) -> None:
        assert self.estimate(completed_nodes=4, failed_nodes=1) == self.NOW + timedelta(seconds=100)

    def test_skipped_nodes_say_nothing_about_the_pace(self) -> None:
        assert self.estimate(completed_nodes=6, skipped_nodes=5) == self.NOW + timedelta(seconds=400)

    def test_is_now_when_all_is_settled(self) -> None:
        assert self.estimate(completed_nodes=10) == self.NOW

    def test_is_unknown_until_a_node_was_pulled(self) -> None:
        assert self.estimate() is None
        assert self.estimate(completed_nodes=5, skipped_nodes=5) is None

    @pytest.mark.parametrize("status", [status for status in TaskStatus if status is not TaskStatus.RUNNING])
    def test_is_only_for_running_tasks(self, status: TaskStatus) -> None:
        assert self.estimate(completed_nodes=5, status=status) is None

    def test_never_lies_in_the_past_whatever_the_clocks_say(self) -> None:
        assert self.estimate(completed_nodes=5, started_at=self.NOW + timedelta(seconds=3)) == self.NOW


def test_a_task_that_waits_says_for_what_and_until_when() -> None:
    later = START + timedelta(seconds=30)
    view = TaskView.of(task(pending_reason=PendingReason.RETRY, not_before=later, attempt=1), START)

    document = view.model_dump(mode="json", by_alias=True)
    assert (document["pendingReason"], document["retryAt"], document["currentRetry"]) == (
        "retry",
        "2026-01-02T03:04:35Z",
        1,
    )


def test_a_node_keeps_how_earlier_attempts_failed() -> None:
    problem = Problem(Reason.RATE_LIMITED, "429", retryable=True)
    failed = NodeResult(NodeStatus.FAILED, (ImageResult("nginx", problem=problem),), START)
    pulled = NodeResult(NodeStatus.SUCCEEDED, (ImageResult("nginx"),), START + timedelta(seconds=60))

    view = NodeView.of(1, NodeState("node-1", "uid", pulled, earlier=(failed,)), cancelled=False)

    assert (view.status, view.attempt, view.images[0].digest) == ("succeeded", 1, None)
    assert [(earlier.finished_at, earlier.images[0].reason) for earlier in view.earlier] == [(START, "RateLimited")]


def test_a_settled_node_of_a_cancelled_task_keeps_its_result() -> None:
    result = NodeResult(NodeStatus.SKIPPED, (ImageResult("nginx"),), START)

    assert NodeView.of(0, NodeState("node-1", "uid", result), cancelled=True).status == "skipped"
    assert NodeView.of(0, NodeState("node-1", "uid"), cancelled=True).status == "cancelled"
