"""What is known of a node: its Job, its pod as last seen, and for how long it has been in trouble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ips_common.models.results import Problem, Reason
from ips_common.observe import ContainerSeen, JobSeen, PodSeen
from ips_common.problem import HARMLESS, STARTED, classify

WORKER = -1
"""The worker image's place among a pod's images."""
POD = -2
"""The place of a trouble that is the pod's own."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """An image's last telling problem, and when it was first seen.

    The kubelet alternates between the cause (`ErrImagePull`) and, in older releases, a back-off that says nothing, so
    the cause is kept.
    """

    since: datetime
    problem: Problem


@dataclass(frozen=True, slots=True)
class Sight:
    """All that is known of one node of an open batch: its Job, its pod as last seen (even if gone since), troubles.

    `pulled_at` is when every image was first seen to be there, `finished_at` when the Job was first seen to be over.
    """

    job: JobSeen | None = None
    pod: PodSeen | None = None
    troubles: Mapping[int, Trouble] = field(default_factory=dict)
    pulled_at: datetime | None = None
    finished_at: datetime | None = None


def notice_job(sight: Sight, job: JobSeen, now: datetime) -> Sight:
    """Return the sight after another look at the Job."""
    return replace(sight, job=job, finished_at=(sight.finished_at or now) if job.finished else None)


def notice(sight: Sight, pod: PodSeen, images: Sequence[str], now: datetime) -> Sight:
    """Return the sight after another look at the pod."""
    seen = dict(pod.images)
    if pod.worker:
        seen[WORKER] = pod.worker
    troubles = dict(sight.troubles)
    for index, container in seen.items():
        if container.digest is not None:
            troubles.pop(index, None)
            continue
        image = images[index] if 0 <= index < len(images) else ""
        problem = classify(image, container.waiting, container.message)
        known = troubles.get(index)
        if problem is None:
            continue
        if known is None:
            troubles[index] = Trouble(now, problem)
        elif problem.reason not in {known.problem.reason, Reason.IMAGE_PULL_BACK_OFF}:
            troubles[index] = Trouble(known.since, problem)
    pulled = all(index in pod.images and is_there(pod.images[index]) for index in range(len(images)))
    return replace(sight, pod=pod, troubles=troubles, pulled_at=(sight.pulled_at or now) if pulled else None)


def notice_daemon(sight: Sight, pod: PodSeen, images: Sequence[str], now: datetime) -> Sight:
    """Return the sight after another look at a DaemonSet's pod.

    Where a Job would have failed, its init container is started again or the pod made anew; so how long that has been
    going on is what counts.
    """
    seen = notice(sight, pod, images, now)
    troubles = dict(seen.troubles)
    failing = sight.troubles.get(WORKER)
    begun = any(image.digest is not None or image.waiting not in HARMLESS for image in pod.images.values())
    ran = pod.worker is not None and pod.worker.digest is not None
    if not begun and ran and (problem := failed_install(pod)):
        troubles[WORKER] = Trouble(failing.since if failing else now, problem)
    elif not begun and failing and failing.problem.reason is Reason.WORKER_IMAGE_FAILED:
        troubles.setdefault(WORKER, failing)
    if pod.phase == "Failed":
        troubles.setdefault(POD, Trouble(now, failed_pod(pod)))
    elif pod.phase == "Running":
        troubles.pop(POD, None)
    return replace(seen, troubles=troubles)


def is_there(seen: ContainerSeen) -> bool:
    """Whether the node holds the container's image."""
    return seen.digest is not None or seen.waiting in STARTED


def failed_install(pod: PodSeen) -> Problem | None:
    """Return the problem of an init container that did not do its work; None if it did, or may yet."""
    worker = pod.worker
    if worker is None or worker.waiting in HARMLESS:
        return None
    words = f"the init container failed: {worker.waiting} {worker.message}".strip()
    return Problem(Reason.WORKER_IMAGE_FAILED, words, retryable=True)


def failed_pod(pod: PodSeen | None, otherwise: str = "the pod failed") -> Problem:
    """Return the problem of a pod that failed, in its own words if it has any."""
    said = (f"{pod.reason}: {pod.message}" if pod else "").strip(": ")
    return Problem(Reason.POD_FAILED, said or otherwise, retryable=True)
