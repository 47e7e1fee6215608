import copy
import io
from typing import Any

import pytest
from rich.console import Console

from deploy.local.demo.board import BatchSpan, Board, ImageState, gaps, image_states, median, settled
from deploy.local.demo.verdict import problems
from deploy.local.demo.view import live_view, order_table, result_table

GOOD, MISSING = "registry.example/web:1", "registry.example/missing:1"
DIGEST = f"sha256:{'ab' * 32}"
PULLED = {"terminated": {"exitCode": 0}}
REFUSED = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
PULLING = {"waiting": {"reason": "ContainerCreating"}}


def job(node: str, batch: int, task: str = "t1") -> dict[str, Any]:
    labels = {"app": "image-prewarm", "task-id": task, "batch": str(batch)}
    return {"kind": "Job", "metadata": {"labels": labels, "annotations": {"image-prewarm/node": node}}}


def pod(node: str, batch: int, *states: dict[str, Any] | None, phase: str = "Pending") -> dict[str, Any]:
    images = [GOOD, MISSING][: len(states)]
    named = list(enumerate(zip(images, states, strict=True)))
    statuses = [{"name": f"image-{index}", "state": state} for index, (_, state) in named if state is not None]
    return {
        "kind": "Pod",
        "metadata": job(node, batch)["metadata"],
        "spec": {"containers": [{"name": f"image-{index}", "image": image} for index, (image, _) in named]},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, ImageState.WAITING),
        (PULLING, ImageState.PULLING),
        ({"running": {}}, ImageState.PULLED),
        (PULLED, ImageState.PULLED),
        (REFUSED, ImageState.FAILED),
        ({"waiting": {"reason": "ImagePullBackOff"}}, ImageState.FAILED),
    ],
)
def test_a_containers_state_tells_how_far_its_image_is(state: dict[str, Any] | None, expected: ImageState) -> None:
    assert image_states(pod("n1", 1, state)) == {GOOD: expected}


def test_a_pod_is_settled_when_every_image_is_there_or_refused() -> None:
    assert not settled(pod("n1", 1, None, None))
    assert not settled(pod("n1", 1, PULLED, PULLING))
    assert settled(pod("n1", 1, PULLED, REFUSED))
    assert settled(pod("n1", 1, PULLING, PULLING, phase="Failed"))


def board() -> Board:
    """Two batches of two nodes: the second begins 0.2 s after the first was settled."""
    seen = Board((GOOD, MISSING))
    for batch, nodes, begin in ((1, ("a", "b"), 10.0), (2, ("c", "d"), 12.2)):
        for offset, node in enumerate(nodes):
            seen.see_job(job(node, batch), begin + offset / 10)
            seen.see_pod(pod(node, batch, PULLING, PULLING), begin + 1)
            seen.see_pod(pod(node, batch, PULLED, REFUSED), begin + 1.9 + offset / 10)
            seen.see_pod(pod(node, batch, PULLED, REFUSED), begin + 9)
    return seen


def test_a_batch_lasts_from_its_first_job_to_its_last_settled_node() -> None:
    spans = board().spans()
    assert [(span.number, span.nodes) for span in spans] == [(1, 2), (2, 2)]
    assert [span.first_job for span in spans] == [10.0, 12.2]
    assert [span.last_settled for span in spans] == pytest.approx([12.0, 14.2])
    assert gaps(spans) == pytest.approx([0.2])


def test_a_batch_is_not_settled_while_one_of_its_nodes_is_not() -> None:
    seen = board()
    seen.see_job(job("e", 2), 13.0)
    assert seen.spans()[1].last_settled is None


def test_overlapping_batches_have_a_negative_gap() -> None:
    spans = [BatchSpan(1, 5, 0.0, 2.0), BatchSpan(2, 5, 1.5, 3.0), BatchSpan(3, 5, 3.5, None)]
    assert gaps(spans) == [-0.5, 0.5]
    assert gaps([BatchSpan(1, 5, 0.0, None), BatchSpan(2, 5, 1.5, 3.0)]) == [float("-inf")]
    assert median([0.1, 0.5, 0.2]) == 0.2
    assert median([]) == 0


def test_jobs_of_another_task_are_not_on_the_board() -> None:
    seen = Board((GOOD,), task_id="t1")
    seen.see_job(job("a", 1, task="t2"), 1.0)
    seen.see_job(job("b", 1), 1.0)
    assert [cell.name for cell in seen.nodes()] == ["b"]


def test_a_pod_that_disappears_is_settled_in_its_last_state() -> None:
    seen = Board((GOOD, MISSING))
    seen.see_job(job("a", 1), 1.0)
    seen.see_pod(pod("a", 1, PULLED, PULLING), 2.0, deleted=True)
    assert seen.nodes()[0].images == {GOOD: ImageState.PULLED, MISSING: ImageState.PULLING}
    assert seen.spans()[0].last_settled == 2.0


REQUEST = {"images": [GOOD, MISSING], "batchSize": 2}
TASK = {
    "status": "failed",
    "batchSize": 2,
    "progress": {"totalNodes": 4, "completedNodes": 0, "failedNodes": 4, "totalBatches": 2},
}
NODES = [
    {
        "nodeName": name,
        "images": [{"image": GOOD, "digest": DIGEST}, {"image": MISSING, "reason": "ImageNotFound"}],
    }
    for name in "abcd"
]


def judged(task: dict[str, Any] = TASK, nodes: list[dict[str, Any]] = NODES, seen: Board | None = None) -> list[str]:
    spans = (seen or board()).spans()
    return problems(REQUEST, task, nodes, spans, gaps(spans), missing=MISSING, expected_nodes=4)


def test_a_demo_that_went_as_it_must_has_no_problems() -> None:
    assert judged() == []


def test_another_status_is_a_problem() -> None:
    assert judged(task=TASK | {"status": "completed"}) == ["the task is completed instead of failed"]


def test_an_image_that_was_not_pulled_is_a_problem() -> None:
    nodes = copy.deepcopy(NODES)
    nodes[0]["images"] = [{"image": GOOD, "reason": "Unauthorized"}, {"image": MISSING, "reason": "ImagePullBackOff"}]
    assert judged(nodes=nodes) == [
        f"a: {GOOD} was not pulled: Unauthorized",
        f"a: {MISSING} has the reason ImagePullBackOff instead of ImageNotFound",
    ]


def test_a_lost_node_is_a_problem() -> None:
    assert judged(nodes=NODES[:3]) == ["3 node results instead of 4"]


def test_a_broken_order_is_a_problem() -> None:
    seen = Board((GOOD, MISSING))
    for node, batch, begin in (("a", 1, 1.0), ("b", 1, 1.0), ("c", 2, 1.5), ("d", 2, 1.5)):
        seen.see_job(job(node, batch), begin)
        seen.see_pod(pod(node, batch, PULLED, REFUSED), begin + 1)
    assert judged(seen=seen) == ["batch 2 began before batch 1 was settled"]


def printed(*things: Any) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    for thing in things:
        console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_view_shows_every_batch_and_mark() -> None:
    seen = board()
    text = printed(live_view(seen, TASK | {"status": "running"}, 1.5, width=140))
    assert "4 of 4 nodes settled" in text
    assert "a ●✗" in text
    assert "batch 2" in text
    assert "settled in 2.00 s" in text


def test_the_live_view_leaves_names_out_where_they_do_not_fit() -> None:
    text = printed(live_view(board(), TASK | {"status": "running"}, 1.5, width=40))
    assert "a ●✗" not in text
    assert "●✗" in text


def test_the_result_names_digest_or_reason() -> None:
    text = printed(result_table([GOOD, MISSING], NODES))
    assert "sha256:abababababab" in text
    assert text.count("ImageNotFound") == 4


def test_the_order_is_shown_with_the_gap() -> None:
    spans = board().spans()
    text = printed(order_table(spans, gaps(spans)))
    assert "0.200 s" in text
    assert "4.20 s" in text
