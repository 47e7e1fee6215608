"""What became of a node and of each image on it.

Plain slotted records rather than pydantic models: a task may hold 5,000 nodes of 50 images, and nothing here comes from
outside unparsed.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Reason(StrEnum):
    """Why an image is not on a node."""

    IMAGE_NOT_FOUND = "ImageNotFound"
    UNAUTHORIZED = "Unauthorized"
    INVALID_IMAGE_NAME = "InvalidImageName"
    NO_MATCHING_PLATFORM = "NoMatchingPlatform"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    RATE_LIMITED = "RateLimited"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    DISK_FULL = "DiskFull"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    UNSCHEDULABLE = "Unschedulable"
    REFUSED_BY_ADMISSION = "RefusedByAdmission"
    NODE_GONE = "NodeGone"
    NODE_NOT_READY = "NodeNotReady"
    POD_FAILED = "PodFailed"
    WORKER_IMAGE_FAILED = "WorkerImageFailed"
    JOB_CREATE_FAILED = "JobCreateFailed"
    JOB_GONE = "JobGone"
    NOT_ATTEMPTED = "NotAttempted"

    @property
    def retryable(self) -> bool:
        """Whether trying the node again may help."""
        return self not in _PERMANENT


_PERMANENT = frozenset(
    {
        Reason.IMAGE_NOT_FOUND,
        Reason.UNAUTHORIZED,
        Reason.INVALID_IMAGE_NAME,
        Reason.NO_MATCHING_PLATFORM,
        Reason.REFUSED_BY_ADMISSION,
        Reason.NODE_GONE,
        Reason.NOT_ATTEMPTED,
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something failed: a reason to act on and the words of whoever said so."""

    reason: Reason
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image on one node: pulled, with the digest if the kubelet told it, or the problem.

    `digest` is `sha256:...`; an image that was pulled without a known digest has an empty one.
    """

    image: str
    digest: str = ""
    problem: Problem | None = None

    @property
    def pulled(self) -> bool:
        """Whether the node holds the image."""
        return self.problem is None


class NodeStatus(StrEnum):
    """Where a node stands."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"  # succeeded: the node already held every image
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The one final result of a node in an attempt.

    `images` has one entry per requested image, in the request's order. A failed node has at least one image with a
    problem; a problem of the node itself (gone, unschedulable) stands at every image that was not pulled.
    """

    status: NodeStatus
    images: tuple[ImageResult, ...]
    at: datetime

    @property
    def succeeded(self) -> bool:
        """Whether the node holds every image."""
        return self.status in {NodeStatus.SUCCEEDED, NodeStatus.SKIPPED}

    @property
    def retryable(self) -> bool:
        """Whether another attempt may help: one image with a lasting problem keeps the node failed for good."""
        problems = [image.problem for image in self.images if image.problem]
        return bool(problems) and all(problem.retryable for problem in problems)


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node of an attempt.

    `superseded` marks an entry whose node was taken over by a later attempt: the later one counts. `earlier` holds the
    failures of the attempts before this one, oldest first.
    """

    name: str
    uid: str
    result: NodeResult | None = None
    superseded: bool = False
    earlier: tuple[NodeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of consecutive nodes of one attempt, stored as one document.

    A batch always lies within one shard (see `TaskProgress.shard_size`), so a batch needs one read and one write
    however many nodes it has.
    """

    attempt: int
    index: int
    nodes: tuple[NodeState, ...]
