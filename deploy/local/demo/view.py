"""How the demo looks on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.local.demo.board import BatchSpan, Board, ImageState, NodeCell

_MARKS = {
    ImageState.WAITING: ("·", "dim"),
    ImageState.PULLING: ("◌", "yellow"),
    ImageState.PULLED: ("●", "green"),
    ImageState.FAILED: ("✗", "red"),
}
_STATUS_STYLES = {"completed": "bold green", "failed": "bold red", "cancelled": "bold yellow"}
_DIGEST_DIGITS = 12
_MARGIN = 32  # columns beside the nodes: the batch's name, its phase, the frame


def live_view(board: Board, task: Mapping[str, Any], elapsed_s: float, width: int) -> RenderableType:
    """The task while it runs: its progress, and a mark per image on each node, batch by batch."""
    progress = task["progress"]
    settled, total = progress["completedNodes"] + progress["failedNodes"], max(1, progress["totalNodes"])
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(task["status"], style=_STATUS_STYLES.get(task["status"], "bold cyan")),
        ProgressBar(total=total, completed=settled, width=40),
        f"{settled} of {progress['totalNodes']} nodes settled",
        Text(f"{elapsed_s:.1f} s", style="dim"),
    )
    return Panel(Group(head, Text(), _grid(board, task, width)), title="prewarm", subtitle=_legend(board), expand=False)


def _grid(board: Board, task: Mapping[str, Any], width: int) -> Table:
    size, batches = task["batchSize"], task["progress"]["totalBatches"]
    members: dict[int, list[NodeCell]] = {}
    for cell in board.nodes():
        members.setdefault(cell.batch, []).append(cell)
    spans = {span.number: span for span in board.spans()}
    longest = max((len(cell.name) for cell in board.nodes()), default=0)
    named = size * (longest + len(board.images) + 3) + _MARGIN <= width
    grid = Table.grid(padding=(0, 2))
    for number in range(1, batches + 1):
        cells = members.get(number, [])
        empty = [Text("·" * len(board.images), style="dim")] * (size - len(cells))
        row = [_cell(cell, board.images, named=named) for cell in cells]
        grid.add_row(Text(f"batch {number}"), *row, *empty, _phase(spans.get(number)))
    return grid


def _cell(cell: NodeCell, images: Sequence[str], *, named: bool) -> Text:
    text = Text(f"{cell.name} " if named else "", style="dim" if cell.settled_at else "")
    for image in images:
        mark, style = _MARKS[cell.images[image]]
        text.append(mark, style=style)
    return text


def _phase(span: BatchSpan | None) -> Text:
    if span is None:
        return Text("waits", style="dim")
    if span.last_settled is None:
        return Text("pulling", style="yellow")
    return Text(f"settled in {span.last_settled - span.first_job:.2f} s", style="green")


def _legend(board: Board) -> Text:
    marks = "  ".join(f"{mark} {state.name.lower()}" for state, (mark, _) in _MARKS.items())
    return Text(f"{marks}  in the order of the {len(board.images)} images", style="dim")


def result_table(images: Sequence[str], nodes: Iterable[Mapping[str, Any]]) -> Table:
    """Every node and image: the digest that the kubelet reported, or the reason why there is none."""
    table = Table(title="what each node holds", title_justify="left")
    table.add_column("node")
    for image in images:
        table.add_column(image.rpartition("/")[2], overflow="fold")
    for node in nodes:
        results = {result["image"]: result for result in node["images"]}
        table.add_row(node["nodeName"], *(_result(results.get(image, {})) for image in images))
    return table


def _result(result: Mapping[str, Any]) -> Text:
    if result.get("reason"):
        return Text(str(result["reason"]), style="red")
    algorithm, _, digits = str(result.get("digest") or "").partition(":")
    return Text(
        f"{algorithm}:{digits[:_DIGEST_DIGITS]}" if digits else "no digest", style="green" if digits else "yellow"
    )


def order_table(spans: Sequence[BatchSpan], waits: Sequence[float]) -> Table:
    """When each batch began and ended, and how long the next one waited for it."""
    table = Table(title="batches, as the Jobs and pods arrived here", title_justify="left")
    for column in ("batch", "nodes", "first Job", "last node settled", "next batch after"):
        table.add_column(column, justify="right")
    zero = spans[0].first_job if spans else 0.0
    for span, wait in zip(spans, [*waits, None], strict=False):
        table.add_row(
            str(span.number),
            str(span.nodes),
            f"{span.first_job - zero:.2f} s",
            "not seen" if span.last_settled is None else f"{span.last_settled - zero:.2f} s",
            "" if wait is None else f"{wait:.3f} s",
        )
    return table
