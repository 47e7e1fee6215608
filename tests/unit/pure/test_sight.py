"""What is kept of a DaemonSet's pods, which are started again where a Job's would have failed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ips_common.models.results import NodeResult
from ips_common.observe import ContainerSeen, JobSeen, Key, PodSeen
from ips_common.sight import Sight, notice_daemon
from ips_common.verdict import Patience, Wait, judge

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEADLINE = NOW + timedelta(seconds=600)
KEY = Key("task-1", 0, 1, "node-1")
IMAGES = ("nginx:1",)
PATIENCE = Patience().of_daemonset()
SET = Sight(JobSeen(KEY, "set-1", NOW, has_pod=True))
POD = PodSeen(KEY, "set-1", "pod-1", "uid-1", "Pending", {0: ContainerSeen(waiting="PodInitializing")}, created=NOW)
CRASHED = replace(POD, worker=ContainerSeen("sha256:bb", "Error", "exit code 1"))
TRYING = replace(POD, worker=ContainerSeen("sha256:bb"))
EVICTED = replace(POD, phase="Failed", reason="Evicted", message="low on memory", images={})


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def reason(*pods: PodSeen, at: float) -> str:
    """Show the pods ten seconds apart and return the image's reason `at` seconds, "" while there is none."""
    sight = SET
    for number, pod in enumerate(pods):
        sight = notice_daemon(sight, pod, IMAGES, later(10 * number))
    verdict = judge(IMAGES, sight, DEADLINE, PATIENCE, later(at))
    if isinstance(verdict, Wait):
        return ""
    assert isinstance(verdict, NodeResult)
    (image,) = verdict.images
    return image.problem.reason.value if image.problem else "pulled"


@pytest.mark.parametrize("pods", [(CRASHED,), (CRASHED, TRYING), (CRASHED, TRYING, CRASHED)])
def test_init_container_that_crashes_again_and_again_is_given_its_grace(pods: tuple[PodSeen, ...]) -> None:
    assert reason(*pods, at=59) == ""
    assert reason(*pods, at=60) == "WorkerImageFailed"


def test_init_container_that_works_at_last_is_forgiven() -> None:
    going_on = replace(TRYING, images={0: ContainerSeen(waiting="ErrImagePull", message="i/o timeout")})
    assert reason(CRASHED, going_on, at=60) == ""
    assert reason(CRASHED, going_on, at=70) == "RegistryUnavailable"


def test_pods_that_fail_again_and_again_are_given_their_grace() -> None:
    assert reason(EVICTED, POD, EVICTED, at=59) == ""
    assert reason(EVICTED, POD, EVICTED, at=60) == "PodFailed"


def test_pod_that_runs_after_others_failed_is_forgiven() -> None:
    running = replace(POD, phase="Running", images={0: ContainerSeen(waiting="ContainerCreating")})
    assert reason(EVICTED, running, at=60) == ""


def test_pod_that_holds_every_image_settles_although_it_goes_on() -> None:
    assert reason(replace(POD, phase="Running", images={0: ContainerSeen("sha256:aa")}), at=0) == "pulled"
