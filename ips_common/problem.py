"""What the kubelet's words about an image mean.

The kubelet passes on what the runtime and the registry said, as text; nothing else tells a missing image from a
registry that is away. The reasons: https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/types.go
"""

import re

from ips_common.models.results import Problem, Reason

HARMLESS = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Waiting reasons of a container whose image is not yet known to be there or not."""

STARTED = frozenset({"CreateContainerError", "RunContainerError", "CrashLoopBackOff", "PostStartHookError"})
"""Waiting reasons that only a present image can lead to."""

_PULL_FAILURES = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)
_BY_WAITING = {
    "InvalidImageName": Reason.INVALID_IMAGE_NAME,
    "ErrImageNeverPull": Reason.IMAGE_NOT_FOUND,
}
_QUOTED = re.compile(r'"[^"]*"')

# Most specific first. A registry that hides private repositories answers for a missing image as for a forbidden one;
# only the registry knows which it is.
_BY_WORDS: tuple[tuple[re.Pattern[str], Reason], ...] = tuple(
    (re.compile(words, re.IGNORECASE), reason)
    for words, reason in (
        (r"toomanyrequests|too many requests|rate limit|pull qps exceeded", Reason.RATE_LIMITED),
        (r"no match for platform|no matching manifest|no image found in \w+ \w+ for", Reason.NO_MATCHING_PLATFORM),
        (r"invalid reference format|couldn't parse image", Reason.INVALID_IMAGE_NAME),
        (
            r"unauthorized|authentication required|forbidden|\bdenied\b|authorization failed|no basic auth",
            Reason.UNAUTHORIZED,
        ),
        (r"no space left|disk quota exceeded", Reason.DISK_FULL),
        (r"no such host|server misbehaving", Reason.REGISTRY_UNAVAILABLE),
        (r"manifest unknown|name unknown|not found|does not exist", Reason.IMAGE_NOT_FOUND),
        (r"time(d )?[ -]?out|deadline exceeded|\beof\b|\btls\b", Reason.REGISTRY_UNAVAILABLE),
        (r"connection (refused|reset)|dial tcp|unreachable", Reason.REGISTRY_UNAVAILABLE),
        (r"unavailable|bad gateway|internal server error", Reason.REGISTRY_UNAVAILABLE),
    )
)


def classify(image: str, waiting: str, message: str) -> Problem | None:
    """Return what a waiting container's `waiting` reason and `message` mean; None if nothing is wrong with the image.

    The image's own name is left out of the words, or `registry.example/denied:404` would explain itself.
    """
    if waiting in _BY_WAITING:
        reason = _BY_WAITING[waiting]
        return Problem(reason, message or waiting, reason.retryable)
    if waiting not in _PULL_FAILURES:
        return None
    words = _QUOTED.sub("", message).replace(image, "")
    reason = next((reason for pattern, reason in _BY_WORDS if pattern.search(words)), Reason.IMAGE_PULL_BACK_OFF)
    return Problem(reason, message or waiting, reason.retryable)
