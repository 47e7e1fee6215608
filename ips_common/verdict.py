"""What is known of a node's Job and pod means: not yet known, pulled, or failed and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ips_common.models.node import Node
from ips_common.models.results import ImageResult, NodeResult, NodeStatus, Problem, Reason
from ips_common.observe import ContainerSeen, JobSeen, PodSeen
from ips_common.sight import POD, WORKER, Sight, Trouble, failed_install, failed_pod, is_there


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a node may look bad before it settles as failed.

    Args:
        pull: for a pull problem that may heal (back-off, rate limit, registry away).
        schedule: for a pod that fits nowhere, a Job without a pod, a node that went silent.
        ending: for a pod to end whose images are all there, before the node counts as settled all the same.
        news: for what another watch may be about to say.
        overrun: past the Job's own deadline, for a Job controller that does not end it.
        look: between two looks at a node that is suspect.
    """

    pull: timedelta = timedelta(seconds=60)
    schedule: timedelta = timedelta(seconds=30)
    ending: timedelta = timedelta(seconds=10)
    news: timedelta = timedelta(seconds=2)
    overrun: timedelta = timedelta(seconds=60)
    look: timedelta = timedelta(seconds=5)

    def of_daemonset(self) -> "Patience":
        """Return the patience with pods that never end, and whose deadline nobody but the tracker keeps."""
        return replace(self, ending=timedelta(), overrun=timedelta())


class Suspicion(StrEnum):
    """Where else to look before a node can be judged."""

    NODE = "node"  # is it still there, and ready?
    REFUSAL = "refusal"  # does the API server refuse the Job's pod?


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be said yet; look again at `until` even if nothing happens, and at what is suspect."""

    until: datetime | None = None
    suspicion: Suspicion | None = None


Verdict = NodeResult | Wait


def judge(images: Sequence[str], sight: Sight, deadline: datetime, patience: Patience, now: datetime) -> Verdict:
    """Judge one node from its Job and pod; `deadline` is when the Job controller is to end the Job."""
    job, pod = sight.job, sight.pod
    if job is None:
        return Wait()
    outcomes = _outcomes(images, sight, patience, now)
    if sight.pulled_at and pod:
        # The pod is still doing nothing, for a moment; a batch is over only when its pods are.
        ended_by = sight.pulled_at + patience.ending
        if job.finished or pod.phase in _ENDED or now >= ended_by:
            return _settle(images, outcomes, _POD_FAILED, now)
        return Wait(until=ended_by)
    if job.finished:
        return _judge_finished(images, sight, outcomes, patience, now)
    if now >= deadline + patience.overrun:
        return _settle(images, outcomes, _overdue(patience), now)
    if pod is None:
        return _without_pod(job, deadline, patience, now)
    worker = sight.troubles.get(WORKER)
    if worker and (not worker.problem.retryable or now >= worker.since + patience.pull):
        return _settle(images, outcomes, _worker_failed(worker.problem), now)
    failing = sight.troubles.get(POD)
    if failing and now >= failing.since + patience.pull:
        return _settle(images, outcomes, failing.problem, now)
    if not any(image.open for image in outcomes):
        return _settle(images, outcomes, _POD_FAILED, now)
    return _with_pod(sight, outcomes, deadline, patience, now)


def _judge_finished(
    images: Sequence[str], sight: Sight, outcomes: Sequence["_Outcome"], patience: Patience, now: datetime
) -> Verdict:
    """Judge a node whose Job is over although not every image was seen to be there."""
    if sight.job and sight.job.finished == "Failed":
        # Jobs also fail when a node goes away under their pods, so the node has a word in it.
        return Wait(until=now + patience.look, suspicion=Suspicion.NODE)
    # Complete can overtake the pod's last state, which has the digests. Should that never come: every container ran to
    # its end, so every image was there.
    known_by = (sight.finished_at or now) + patience.news
    if sight.pod and now < known_by:
        return Wait(until=known_by)
    pulled = [image if image.pulled else _Outcome(digest="") for image in outcomes]
    return _settle(images, pulled, _POD_FAILED, now)


def judge_node(
    images: Sequence[str], sight: Sight, uid: str, node: Node | None, patience: Patience, now: datetime
) -> Verdict:
    """Judge a suspect node from what the API server says of the node itself; `uid` is the one in the snapshot."""
    if node is None or node.uid != uid:
        words = "the node was deleted" if node is None else "another node took its name"
        return _node_failed(images, sight, Problem(Reason.NODE_GONE, words, retryable=False), now)
    pod = sight.pod
    if sight.job and sight.job.finished == "Failed":
        return _node_failed(images, sight, _why_failed(sight.job, pod), now)
    since = (pod.created if pod else None) or (sight.job.created if sight.job else now)
    if now < since + patience.schedule:
        return Wait(until=now + patience.look, suspicion=Suspicion.NODE)
    if not node.ready:
        problem = Problem(Reason.NODE_NOT_READY, "the node's kubelet stopped reporting", retryable=True)
        return _node_failed(images, sight, problem, now)
    if pod and pod.unschedulable:
        return _node_failed(images, sight, Problem(Reason.UNSCHEDULABLE, pod.unschedulable, retryable=True), now)
    return Wait(until=now + patience.schedule)


def judge_refusal(images: Sequence[str], sight: Sight, words: str | None, patience: Patience, now: datetime) -> Verdict:
    """Judge a Job that has no pod from the Event that says why; `words` is None if there is none to be read."""
    if words is not None:
        problem = Problem(Reason.REFUSED_BY_ADMISSION, words, Reason.REFUSED_BY_ADMISSION.retryable)
        return _node_failed(images, sight, problem, now)
    if sight.job and now >= sight.job.created + patience.pull:
        words = "the Job controller made no pod; admission control or a quota may refuse it"
        return _node_failed(images, sight, Problem(Reason.REFUSED_BY_ADMISSION, words, retryable=True), now)
    return Wait(until=now + patience.look, suspicion=Suspicion.REFUSAL)


_ENDED = frozenset({"Succeeded", "Failed"})
_POD_FAILED = Problem(Reason.POD_FAILED, "the pod ended before the image was pulled", retryable=True)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One image: pulled with `digest`, or with a lasting `problem`, or open.

    An open image in trouble fails by `fails_by` unless it heals.
    """

    digest: str | None = None
    problem: Problem | None = None
    trouble: Problem | None = None
    fails_by: datetime | None = None

    @property
    def pulled(self) -> bool:
        return self.digest is not None

    @property
    def open(self) -> bool:
        return self.digest is None and self.problem is None


def _outcomes(images: Sequence[str], sight: Sight, patience: Patience, now: datetime) -> list[_Outcome]:
    seen = sight.pod.images if sight.pod else {}
    return [
        _outcome(seen.get(index, ContainerSeen()), sight.troubles.get(index), patience, now)
        for index in range(len(images))
    ]


def _outcome(seen: ContainerSeen, trouble: Trouble | None, patience: Patience, now: datetime) -> _Outcome:
    if is_there(seen):
        return _Outcome(digest=seen.digest or "")
    if trouble is None:
        return _Outcome()
    fails_by = trouble.since + patience.pull
    if not trouble.problem.retryable or now >= fails_by:
        return _Outcome(problem=trouble.problem)
    return _Outcome(trouble=trouble.problem, fails_by=fails_by)


def _settle(images: Sequence[str], outcomes: Sequence[_Outcome], otherwise: Problem, now: datetime) -> NodeResult:
    """Settle a node; images that are open without a trouble of their own failed because of `otherwise`."""
    results = tuple(
        ImageResult(image, seen.digest)
        if seen.digest is not None
        else ImageResult(image, problem=seen.problem or seen.trouble or otherwise)
        for image, seen in zip(images, outcomes, strict=True)
    )
    pulled = all(result.pulled for result in results)
    return NodeResult(NodeStatus.SUCCEEDED if pulled else NodeStatus.FAILED, results, now)


def _node_failed(images: Sequence[str], sight: Sight, problem: Problem, now: datetime) -> NodeResult:
    return _settle(images, _outcomes(images, sight, Patience(), now), problem, now)


def _overdue(patience: Patience) -> Problem:
    words = f"the Job was not ended within {patience.overrun.total_seconds():.0f} s of its deadline"
    return Problem(
        Reason.DEADLINE_EXCEEDED, words if patience.overrun else "the node's deadline passed", retryable=True
    )


def _worker_failed(problem: Problem) -> Problem:
    if problem.reason is Reason.WORKER_IMAGE_FAILED:
        return problem
    return Problem(
        Reason.WORKER_IMAGE_FAILED, f"the worker image cannot be pulled: {problem.message}", problem.retryable
    )


def _why_failed(job: JobSeen, pod: PodSeen | None) -> Problem:
    if job.reason == "DeadlineExceeded":
        return Problem(Reason.DEADLINE_EXCEEDED, job.message or "the node's deadline passed", retryable=True)
    if pod and (problem := failed_install(pod)):
        return problem
    return failed_pod(pod, f"{job.reason}: {job.message}".strip(": "))


def _without_pod(job: JobSeen, deadline: datetime, patience: Patience, now: datetime) -> Wait:
    late = job.created + patience.look
    if job.has_pod or now < late:
        return Wait(until=min(late, deadline + patience.overrun) if now < late else deadline + patience.overrun)
    return Wait(until=now + patience.look, suspicion=Suspicion.REFUSAL)


def _with_pod(
    sight: Sight, outcomes: Sequence[_Outcome], deadline: datetime, patience: Patience, now: datetime
) -> Wait:
    pod, job = sight.pod, sight.job
    since = (pod.created if pod else None) or (job.created if job else now)
    silent_by = since + patience.schedule
    silent = pod is not None and not pod.images
    if (pod and pod.unschedulable) or (silent and now >= silent_by):
        return Wait(until=now + patience.look, suspicion=Suspicion.NODE)
    times = [outcome.fails_by for outcome in outcomes if outcome.fails_by]
    if silent:
        times.append(silent_by)
    times += [sight.troubles[place].since + patience.pull for place in (WORKER, POD) if place in sight.troubles]
    return Wait(until=min([*times, deadline + patience.overrun]))
