"""Whether the demo went as it must."""

from collections.abc import Mapping, Sequence
from typing import Any

from deploy.local.demo.board import BatchSpan

STATUS = "failed"
REASON = "ImageNotFound"


def problems(
    request: Mapping[str, Any],
    task: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    spans: Sequence[BatchSpan],
    waits: Sequence[float],
    *,
    missing: str,
    expected_nodes: int,
) -> list[str]:
    """Everything that is not as expected, in words; empty if the demo succeeded.

    One image does not exist, so no node holds all of them: the task must fail, each node with the other images pulled.
    """
    found = []
    if task["status"] != STATUS:
        found.append(f"the task is {task['status']} instead of {STATUS}")
    progress = task["progress"]
    if (progress["totalNodes"], progress["failedNodes"]) != (expected_nodes, expected_nodes):
        found.append(f"{progress['failedNodes']} of {progress['totalNodes']} nodes failed, not all {expected_nodes}")
    if len({node["nodeName"] for node in nodes}) != expected_nodes:
        found.append(f"{len(nodes)} node results instead of {expected_nodes}")
    found += [text for node in nodes for text in _node_problems(node, request["images"], missing)]
    found += _order_problems(spans, waits, expected_nodes, request["batchSize"])
    return found


def _node_problems(node: Mapping[str, Any], images: Sequence[str], missing: str) -> list[str]:
    results = {result["image"]: result for result in node["images"]}
    found = []
    for image in images:
        result = results.get(image, {})
        reason, digest = result.get("reason"), result.get("digest")
        if image == missing and reason != REASON:
            found.append(f"{node['nodeName']}: {image} has the reason {reason} instead of {REASON}")
        elif image != missing and (reason or not digest):
            found.append(f"{node['nodeName']}: {image} was not pulled: {reason or 'no digest'}")
    return found


def _order_problems(spans: Sequence[BatchSpan], waits: Sequence[float], nodes: int, size: int) -> list[str]:
    found = []
    expected = [min(size, nodes - start) for start in range(0, nodes, size)]
    if [span.nodes for span in spans] != expected:
        found.append(f"batches of {[span.nodes for span in spans]} nodes instead of {expected}")
    found += [
        f"batch {span.number + 1} began before batch {span.number} was settled"
        for span, wait in zip(spans, waits, strict=False)
        if wait <= 0
    ]
    found += [f"batch {span.number} was not seen to settle" for span in spans if span.last_settled is None]
    return found
