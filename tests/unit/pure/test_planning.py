"""A retry takes nodes over with everything that was counted for them."""

from datetime import UTC, datetime

from ips_common.models.node import Node
from ips_common.models.results import ImageResult, NodeResult, NodeStatus, Problem, Reason
from ips_common.models.task import Task, TaskSpec
from ips_common.planning import begin, begin_retry, plan
from ips_common.reconcile import settle

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TIMED_OUT = Problem(Reason.IMAGE_PULL_BACK_OFF, "i/o timeout", retryable=True)
NOT_FOUND = Problem(Reason.IMAGE_NOT_FOUND, "not found", retryable=False)


def test_retry_takes_the_digests_of_the_nodes_it_takes_over_out_of_the_count() -> None:
    spec = TaskSpec.model_validate({"images": ["a:1", "b:1"], "maxRetries": 1, "skipPresent": False})
    task = Task(task_id="task-1", spec=spec, created_at=NOW)
    nodes = [Node(name, f"uid-{name}", {}) for name in ("held", "lost", "again")]
    task, shards = begin(task, plan(spec, nodes), NOW)
    results = {
        "held": NodeResult(NodeStatus.SUCCEEDED, (ImageResult("a:1", "sha256:a"), ImageResult("b:1", "sha256:b")), NOW),
        "lost": NodeResult(NodeStatus.FAILED, (ImageResult("a:1", "sha256:a"), ImageResult("b:1", "", NOT_FOUND)), NOW),
        "again": NodeResult(
            NodeStatus.FAILED, (ImageResult("a:1", "sha256:c"), ImageResult("b:1", "", TIMED_OUT)), NOW
        ),
    }
    task, shard = settle(task, shards[0], {place: results[node.name] for place, node in enumerate(shards[0].nodes)})
    assert task.image_digests == {"a:1": {"sha256:a": 2, "sha256:c": 1}, "b:1": {"sha256:b": 1}}
    retried, _, _ = begin_retry(task, [shard], NOW)
    assert retried.image_digests == {"a:1": {"sha256:a": 2}, "b:1": {"sha256:b": 1}}
