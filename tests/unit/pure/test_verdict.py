"""From what is seen of a Job and its pod to a verdict on the node."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ips_common.models.node import Node
from ips_common.models.results import NodeResult, NodeStatus
from ips_common.observe import ContainerSeen, JobSeen, Key, PodSeen
from ips_common.sight import Sight, notice, notice_job
from ips_common.verdict import Patience, Suspicion, Wait, judge, judge_node, judge_refusal

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEADLINE = NOW + timedelta(seconds=600)
KEY = Key("task-1", 0, 1, "node-1")
IMAGES = ("nginx:1", "redis:7")
JOB = JobSeen(KEY, "job-1", NOW, has_pod=True)
POD = PodSeen(KEY, "job-1", "pod-1", "uid-1", "Pending", {}, scheduled=True, created=NOW)
PULLED = ContainerSeen(digest="sha256:aa")
CREATING = ContainerSeen(waiting="ContainerCreating")
NOT_FOUND = ContainerSeen(waiting="ErrImagePull", message="redis:7: not found")
TIMEOUT = ContainerSeen(waiting="ErrImagePull", message="i/o timeout")
BACK_OFF = ContainerSeen(waiting="ImagePullBackOff", message='Back-off pulling image "redis:7"')
PATIENCE = Patience()


def see(*pods: PodSeen, job: JobSeen | None = JOB, at: datetime = NOW) -> Sight:
    sight = Sight(job)
    for pod in pods:
        sight = notice(sight, pod, IMAGES, at)
    return sight


def pod(*images: ContainerSeen, worker: ContainerSeen | None = None, phase: str = "Pending") -> PodSeen:
    return replace(POD, images=dict(enumerate(images)), worker=worker, phase=phase)


def reasons(verdict: object) -> list[str]:
    assert isinstance(verdict, NodeResult), verdict
    return [image.problem.reason.value if image.problem else image.digest for image in verdict.images]


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_every_image_pulled_settles_before_the_job_ends() -> None:
    verdict = judge(IMAGES, see(pod(PULLED, PULLED, phase="Succeeded")), DEADLINE, PATIENCE, NOW)
    assert reasons(verdict) == ["sha256:aa", "sha256:aa"]


def test_pod_that_holds_every_image_is_given_a_moment_to_end() -> None:
    sight = see(pod(PULLED, PULLED))
    assert judge(IMAGES, sight, DEADLINE, PATIENCE, later(9)) == Wait(until=later(10))
    assert reasons(judge(IMAGES, sight, DEADLINE, PATIENCE, later(10))) == ["sha256:aa", "sha256:aa"]


def test_missing_image_settles_once_the_others_are_pulled() -> None:
    assert isinstance(judge(IMAGES, see(pod(CREATING, NOT_FOUND)), DEADLINE, PATIENCE, NOW), Wait)
    assert reasons(judge(IMAGES, see(pod(PULLED, NOT_FOUND)), DEADLINE, PATIENCE, NOW)) == [
        "sha256:aa",
        "ImageNotFound",
    ]


def test_cause_survives_a_back_off_that_says_nothing() -> None:
    sight = see(pod(PULLED, NOT_FOUND), pod(PULLED, BACK_OFF))
    assert reasons(judge(IMAGES, sight, DEADLINE, PATIENCE, NOW)) == ["sha256:aa", "ImageNotFound"]


def test_trouble_that_may_heal_is_given_its_grace_time() -> None:
    sight = see(pod(PULLED, TIMEOUT))
    early = judge(IMAGES, sight, DEADLINE, PATIENCE, later(59))
    assert early == Wait(until=later(60))
    assert reasons(judge(IMAGES, sight, DEADLINE, PATIENCE, later(60))) == ["sha256:aa", "RegistryUnavailable"]


def test_healed_trouble_is_forgotten() -> None:
    sight = see(pod(PULLED, TIMEOUT), pod(PULLED, PULLED))
    verdict = judge(IMAGES, sight, DEADLINE, PATIENCE, later(100))
    assert reasons(verdict) == ["sha256:aa", "sha256:aa"]


def test_complete_job_has_pulled_everything_even_if_its_pod_is_gone() -> None:
    verdict = judge(IMAGES, see(job=replace(JOB, finished="Complete")), DEADLINE, PATIENCE, NOW)
    assert isinstance(verdict, NodeResult)
    assert verdict.status is NodeStatus.SUCCEEDED


def test_complete_that_overtakes_the_pods_last_state_waits_for_its_digests() -> None:
    complete = replace(JOB, finished="Complete")
    sight = notice_job(see(pod(PULLED, CREATING)), complete, NOW)
    assert judge(IMAGES, sight, DEADLINE, PATIENCE, later(1)) == Wait(until=later(2))
    assert reasons(judge(IMAGES, sight, DEADLINE, PATIENCE, later(2))) == ["sha256:aa", ""]


def test_container_that_cannot_start_has_its_image() -> None:
    failed = ContainerSeen(waiting="RunContainerError", message="exec format error")
    verdict = judge(IMAGES, see(pod(PULLED, failed, phase="Failed")), DEADLINE, PATIENCE, NOW)
    assert reasons(verdict) == ["sha256:aa", ""]


def test_failed_job_lets_the_node_speak_first() -> None:
    sight = see(
        pod(PULLED, CREATING), job=replace(JOB, finished="Failed", reason="DeadlineExceeded", message="too long")
    )
    verdict = judge(IMAGES, sight, DEADLINE, PATIENCE, NOW)
    assert isinstance(verdict, Wait)
    assert verdict.suspicion is Suspicion.NODE
    there = Node("node-1", "n1", {})
    assert reasons(judge_node(IMAGES, sight, "n1", there, PATIENCE, NOW)) == ["sha256:aa", "DeadlineExceeded"]
    assert reasons(judge_node(IMAGES, sight, "n1", None, PATIENCE, NOW)) == ["sha256:aa", "NodeGone"]


def test_node_under_the_same_name_with_another_uid_is_gone() -> None:
    sight = see(replace(POD, unschedulable="0/3 nodes are available"))
    assert reasons(judge_node(IMAGES, sight, "n1", Node("node-1", "n2", {}), PATIENCE, NOW)) == ["NodeGone"] * 2


@pytest.mark.parametrize(
    ("node", "reason"),
    [(Node("node-1", "n1", {}), "Unschedulable"), (Node("node-1", "n1", {}, ready=False), "NodeNotReady")],
)
def test_pod_that_fits_nowhere_is_given_time(node: Node, reason: str) -> None:
    sight = see(replace(POD, scheduled=False, unschedulable="0/3 nodes are available"))
    assert isinstance(judge_node(IMAGES, sight, "n1", node, PATIENCE, later(29)), Wait)
    assert reasons(judge_node(IMAGES, sight, "n1", node, PATIENCE, later(30))) == [reason] * 2


def test_silent_kubelet_makes_the_node_suspect() -> None:
    verdict = judge(IMAGES, see(POD), DEADLINE, PATIENCE, later(30))
    assert isinstance(verdict, Wait)
    assert verdict.suspicion is Suspicion.NODE


def test_job_without_a_pod_makes_admission_suspect() -> None:
    sight = see(job=replace(JOB, has_pod=False))
    verdict = judge(IMAGES, sight, DEADLINE, PATIENCE, later(6))
    assert isinstance(verdict, Wait)
    assert verdict.suspicion is Suspicion.REFUSAL
    assert isinstance(judge_refusal(IMAGES, sight, None, PATIENCE, later(6)), Wait)
    assert reasons(judge_refusal(IMAGES, sight, "forbidden", PATIENCE, later(6))) == ["RefusedByAdmission"] * 2


def test_worker_image_that_does_not_exist_fails_the_node_by_its_own_reason() -> None:
    broken = ContainerSeen(waiting="ErrImagePull", message="not found")
    waiting = ContainerSeen(waiting="PodInitializing")
    verdict = judge(IMAGES, see(pod(waiting, waiting, worker=broken)), DEADLINE, PATIENCE, NOW)
    assert reasons(verdict) == ["WorkerImageFailed"] * 2


def test_deadline_that_nobody_enforces_settles_by_itself() -> None:
    verdict = judge(IMAGES, see(pod(PULLED, CREATING)), DEADLINE, PATIENCE, DEADLINE + PATIENCE.overrun)
    assert reasons(verdict) == ["sha256:aa", "DeadlineExceeded"]


def test_nothing_is_said_of_a_node_without_a_job() -> None:
    assert judge(IMAGES, Sight(), DEADLINE, PATIENCE, later(1000)) == Wait()
