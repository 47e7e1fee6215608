"""What callers see of nodes: their results, and the batches a plan puts them in."""

from collections.abc import Iterable, Mapping

from pydantic import Field

from ips_common.models.base import UtcDatetime
from ips_common.models.results import ImageResult, NodeResult, NodeState, NodeStatus
from ips_common.models.view import View

CANCELLED = "cancelled"
"""Status shown for a node that had no result when its task was cancelled."""


class ImageView(View):
    """One image on one node."""

    image: str
    """The image as the request named it."""
    pulled: bool
    """Whether the node holds it."""
    digest: str | None
    """The digest the kubelet reported; null if it reported none or the image was not pulled."""
    reason: str | None
    """Why it does not, in a stable spelling; null otherwise."""
    message: str | None
    """Why, in the cluster's words; null otherwise."""
    retryable: bool | None
    """Whether another attempt may help; null if the node holds it."""

    @classmethod
    def of(cls, result: ImageResult) -> "ImageView":
        """Show what became of an image."""
        problem = result.problem
        return cls.model_construct(
            image=result.image,
            pulled=result.pulled,
            digest=result.digest or None,
            reason=problem.reason.value if problem else None,
            message=problem.message if problem else None,
            retryable=problem.retryable if problem else None,
        )


class EarlierView(View):
    """How an earlier attempt failed on a node."""

    finished_at: UtcDatetime
    """When the attempt was settled for the node."""
    images: tuple[ImageView, ...]
    """What became of every image."""

    @classmethod
    def of(cls, result: NodeResult) -> "EarlierView":
        """Show the result of an earlier attempt."""
        return cls.model_construct(finished_at=result.at, images=_images(result.images))


class NodeView(View):
    """What became of one node."""

    node_name: str
    """The node."""
    status: str
    """`pending`, `succeeded`, `skipped`, `failed`, or `cancelled` if its task was cancelled before it had a result."""
    attempt: int
    """The attempt that counts for the node, from 0."""
    finished_at: UtcDatetime | None
    """When it was settled; null until then."""
    images: tuple[ImageView, ...]
    """One entry per image in the request's order; empty until the node is settled."""
    earlier: tuple[EarlierView, ...]
    """How earlier attempts failed, oldest first."""

    @classmethod
    def of(cls, attempt: int, state: NodeState, *, cancelled: bool) -> "NodeView":
        """Show a node; `cancelled` says that its task was cancelled."""
        result = state.result
        unsettled = CANCELLED if cancelled else NodeStatus.PENDING.value
        return cls.model_construct(
            node_name=state.name,
            status=result.status.value if result else unsettled,
            attempt=attempt,
            finished_at=result.at if result else None,
            images=_images(result.images) if result else (),
            earlier=tuple(EarlierView.of(earlier) for earlier in state.earlier),
        )


def _images(results: Iterable[ImageResult]) -> tuple[ImageView, ...]:
    return tuple(ImageView.of(result) for result in results)


class NodePageView(View):
    """One page of a task's nodes."""

    nodes: tuple[NodeView, ...]
    """The nodes, in the order in which they were planned."""
    limit: int
    """Nodes on a page."""
    next_page_token: str | None
    """Give it as `pageToken` for the next page; null on the last."""


class PlannedBatch(View):
    """A batch that would be opened."""

    number: int
    """The batch's number, from 1."""
    nodes: tuple[str, ...]
    """The names of its nodes."""


class PlanView(View):
    """What a task would do: nothing was stored."""

    dry_run: bool = Field(default=True)
    """Always true: nothing was stored."""
    cluster: str
    """The cluster that was asked."""
    total_nodes: int
    """Nodes the task would be about."""
    total_batches: int
    """Batches it would pull in."""
    batches: tuple[PlannedBatch, ...]
    """The batches, in their order."""
    skipped: tuple[str, ...]
    """Nodes that already hold every image."""
    excluded_nodes: Mapping[str, int]
    """Reason → nodes that match the selector and would be left out."""
