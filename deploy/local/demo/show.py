"""The demo itself: a task on a fresh stack, shown while it runs and judged in the end."""

import time
from typing import Any

from rich.console import Console
from rich.live import Live

from deploy.local.demo.board import Board, gaps, median
from deploy.local.demo.client import Client
from deploy.local.demo.verdict import problems
from deploy.local.demo.view import live_view, order_table, result_table
from deploy.local.demo.watch import ClusterWatch
from deploy.local.errors import StackError
from deploy.local.stack import Stack
from deploy.local.target import NAMESPACE

_MISSING = "registry.example/shop/missing:1.0.0"
_REQUEST: dict[str, Any] = {
    "images": ["registry.example/shop/web:1.4.2", "registry.example/shop/worker:2.0.1", _MISSING],
    "batchSize": 5,
    "successThreshold": 0.9,
}
_FINAL = frozenset({"completed", "failed", "cancelled"})
_LIMIT_S = 60.0
_SETTLE_S = 2.0
_INTERVAL_S = 0.1
_FEW = 10


def demo(stack: Stack, console: Console, nodes: int) -> int:
    """Run the demo and return its exit code: 0 if all went as it must.

    Raises:
        StackError: The stack does not start, or the task does not end.
    """
    with stack:
        client = Client(stack.api_url)
        board = Board(tuple(_REQUEST["images"]))
        with ClusterWatch(board, stack.kubeconfig, NAMESPACE):
            size = _REQUEST["batchSize"]
            console.print(
                f"\n{len(board.images)} images for {nodes} nodes, {size} nodes at a time; one does not exist:"
            )
            for number, image in enumerate(board.images, start=1):
                console.print(f"  {number}  {image}", highlight=False, soft_wrap=True)
            task = _follow(stack, client, board, console)
            _await_news(board, stack)
        results = client.nodes(task["taskId"])
        spans = board.spans()
        waits = gaps(spans)
        found = problems(_REQUEST, task, results, spans, waits, missing=_MISSING, expected_nodes=nodes)

        console.print(result_table(board.images, results))
        console.print(order_table(spans, waits))
        _conclude(console, task, waits, found)
    console.print(f"everything is stopped; logs are in {stack.folders.logs}", highlight=False, soft_wrap=True)
    return 1 if found else 0


def _follow(stack: Stack, client: Client, board: Board, console: Console) -> dict[str, Any]:
    begin = time.monotonic()
    task = client.create(_REQUEST)
    board.task_id = task["taskId"]
    lines = _Lines(console, begin)
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    if live:
        live.start()
    try:
        while task["status"] not in _FINAL:
            if time.monotonic() - begin > _LIMIT_S:
                raise StackError(f"the task is still {task['status']} after {_LIMIT_S:.0f} s; see {stack.folders.logs}")
            stack.wait(_INTERVAL_S)
            task = client.task(task["taskId"])
            if live:
                live.update(live_view(board, task, time.monotonic() - begin, console.width), refresh=True)
            else:
                lines.update(board)
    finally:
        if live:
            live.stop()
    return task


def _await_news(board: Board, stack: Stack) -> None:
    """The API may know the end before the last event has reached this process."""
    until = time.monotonic() + _SETTLE_S
    while any(span.last_settled is None for span in board.spans()) and time.monotonic() < until:
        stack.wait(_INTERVAL_S)


class _Lines:
    """Progress in lines, where the output is no terminal."""

    def __init__(self, console: Console, begin: float) -> None:
        self._console = console
        self._begin = begin
        self._told: set[tuple[int, str]] = set()

    def update(self, board: Board) -> None:
        """Print what is new on the board."""
        for span in board.spans():
            self._tell(span.number, span.first_job, "started")
            if span.last_settled is not None:
                self._tell(span.number, span.last_settled, f"settled, {span.nodes} nodes")

    def _tell(self, number: int, at: float, text: str) -> None:
        if (number, text) not in self._told:
            self._told.add((number, text))
            self._console.print(f"{at - self._begin:6.2f} s  batch {number} {text}", highlight=False)


def _conclude(console: Console, task: dict[str, Any], waits: list[float], found: list[str]) -> None:
    progress = task["progress"]
    held = progress["completedNodes"]
    console.print(
        f"task {task['status']}, as it should be: {held} of {progress['totalNodes']} nodes hold every image, "
        f"{_REQUEST['successThreshold']:.0%} were asked for, and {_MISSING} does not exist"
        if not found
        else f"task {task['status']}: {task.get('errorMessage') or ''}",
        soft_wrap=True,
    )
    if waits:
        console.print(
            f"strict order: no Job of a batch before the batch ahead was settled; the next batch came after "
            f"{median(waits):.3f} s (p50), {max(waits):.3f} s (max)",
            soft_wrap=True,
        )
    for text in found[:_FEW]:
        console.print(f"[red]unexpected:[/red] {text}", soft_wrap=True)
    if len(found) > _FEW:
        console.print(f"[red]unexpected:[/red] {len(found) - _FEW} more")
