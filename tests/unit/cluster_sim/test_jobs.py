"""What happens to a Job."""

import pytest

from deploy.local.cluster.controllers.job_pods import TRACKING
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.kinds import EVENTS, JOBS, NAMESPACES, PODS, RESOURCEQUOTAS
from tests.unit.cluster_sim.simulated import NAMESPACE, Simulated, job

FAST, SLOW, FAILING = "a.example/fast:1", "slow60.example/a:1", "a.example/failing:1"
EXITS = [{"pattern": "*/failing:*", "exit_code": 3}]


def test_job_completes_when_its_containers_end() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", FAST, "b.example/other:1"))
    cluster.wait(10)
    assert cluster.conditions("j") == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    assert cluster.need(JOBS, "j")["status"]["succeeded"] == 1
    assert cluster.pod("j")["status"]["phase"] == "Succeeded"


def test_pod_is_held_until_it_is_counted() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", FAST))
    cluster.wait(0.1)
    assert cluster.pod("j")["metadata"]["finalizers"] == [TRACKING]
    cluster.wait(10)
    assert "finalizers" not in cluster.pod("j")["metadata"]


def test_deadline_deletes_the_pod_and_fails_the_job() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", SLOW, activeDeadlineSeconds=30))
    cluster.wait(29)
    assert cluster.conditions("j") == {}
    cluster.wait(1.1)
    assert cluster.conditions("j") == {"FailureTarget": "DeadlineExceeded"}
    cluster.wait(2)
    assert cluster.conditions("j") == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}
    assert cluster.pods("j") == []
    assert cluster.need(JOBS, "j")["status"]["failed"] == 1
    assert ("DeadlineExceeded", "Job was active longer than specified deadline") in cluster.events("j")


def test_deadline_holds_for_a_job_whose_pod_waits_for_an_image() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", "a.example/missing:1", activeDeadlineSeconds=120))
    cluster.wait(119)
    assert cluster.states("j") == ["ImagePullBackOff"]
    cluster.wait(5)
    assert cluster.conditions("j")["Failed"] == "DeadlineExceeded"


def test_a_failed_pod_is_one_too_many_without_a_backoff_limit() -> None:
    cluster = Simulated(images=EXITS)
    cluster.create(JOBS, job("j", FAILING))
    cluster.wait(10)
    assert cluster.conditions("j")["Failed"] == "BackoffLimitExceeded"
    assert len(cluster.pods("j")) == 1


def test_failed_pods_are_replaced_after_a_growing_back_off() -> None:
    cluster = Simulated(images=EXITS)
    cluster.create(JOBS, job("j", FAILING, backoffLimit=2))
    counts = []
    for _ in range(10):
        cluster.wait(5)
        counts.append(len(cluster.pods("j")))
    assert counts == sorted(counts)
    assert (counts[0], counts[3], counts[-1]) == (1, 2, 3)
    assert cluster.conditions("j")["Failed"] == "BackoffLimitExceeded"


def test_a_pod_deleted_by_hand_counts_as_failed() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", SLOW))
    cluster.wait(1)
    cluster.delete(PODS, cluster.pod("j")["metadata"]["name"])
    cluster.wait(3)
    assert cluster.conditions("j")["Failed"] == "BackoffLimitExceeded"


def test_ttl_deletes_job_and_pod() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", FAST, ttlSecondsAfterFinished=60))
    cluster.wait(50)
    assert "Complete" in cluster.conditions("j")
    cluster.wait(20)
    assert cluster.get(JOBS, "j") is None
    assert cluster.pods("j") == []


def test_suspended_job_loses_its_pod_and_starts_anew_when_resumed() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", SLOW))
    cluster.wait(1)
    first = cluster.pod("j")["metadata"]["name"]
    suspended = cluster.need(JOBS, "j")
    suspended = {**suspended, "spec": {**suspended["spec"], "suspend": True}}
    cluster.registry.update(JOBS, (NAMESPACE, "j"), suspended)
    cluster.wait(3)
    assert cluster.pods("j") == []
    assert cluster.conditions("j") == {"Suspended": "JobSuspended"}
    assert "startTime" not in cluster.need(JOBS, "j")["status"]
    resumed = cluster.need(JOBS, "j")
    resumed = {**resumed, "spec": {**resumed["spec"], "suspend": False}}
    cluster.registry.update(JOBS, (NAMESPACE, "j"), resumed)
    cluster.wait(3)
    assert cluster.conditions("j") == {}
    assert cluster.pod("j")["metadata"]["name"] != first


def test_orphaned_pod_outlives_its_job_without_finalizer_and_owner() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", SLOW))
    cluster.wait(1)
    cluster.delete(JOBS, "j")
    cluster.wait(5)
    assert cluster.get(JOBS, "j") is None
    meta = cluster.pod("j")["metadata"]
    assert "ownerReferences" not in meta
    assert "finalizers" not in meta


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_deleted_job_takes_its_pod_along(policy: str) -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", SLOW))
    cluster.wait(1)
    cluster.delete(JOBS, "j", policy=policy)
    assert (cluster.get(JOBS, "j") is None) == (policy == "Background")
    cluster.wait(5)
    assert cluster.get(JOBS, "j") is None
    assert cluster.pods("j") == []


def test_pod_refused_by_pod_security_is_tried_again_ever_later() -> None:
    cluster = Simulated()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create(NAMESPACES, {"metadata": {"name": "strict", "labels": labels}})
    _, warnings = cluster.registry.create(JOBS, "strict", job("j", FAST))
    assert warnings[0].startswith('would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false')
    tries = []
    for _ in range(3):
        cluster.wait(10)
        tries.append(sum(item.obj["reason"] == "FailedCreate" for item in cluster.store.scan(EVENTS, "strict")))
    # At 0, 1, 3, 7 and 15 s.
    assert tries == [4, 5, 5]
    assert cluster.store.count(PODS) == 0


def test_quota_refuses_one_job_too_many_until_one_is_gone() -> None:
    cluster = Simulated()
    cluster.create(RESOURCEQUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"count/jobs.batch": "1"}}})
    cluster.create(JOBS, job("first", FAST))
    with pytest.raises(ApiError, match=r"exceeded quota: q, requested: count/jobs\.batch=1, used: count/jobs\.batch=1"):
        cluster.create(JOBS, job("second", FAST))
    cluster.wait(2)
    assert cluster.need(RESOURCEQUOTAS, "q")["status"]["used"] == {"count/jobs.batch": "1"}
    cluster.delete(JOBS, "first", policy="Background")
    cluster.create(JOBS, job("second", FAST))


def test_namespace_is_emptied_before_it_goes() -> None:
    cluster = Simulated()
    cluster.create(JOBS, job("j", SLOW))
    cluster.wait(1)
    cluster.delete(NAMESPACES, NAMESPACE)
    with pytest.raises(ApiError, match="because it is being terminated"):
        cluster.create(JOBS, job("late", FAST))
    cluster.wait(5)
    assert cluster.get(NAMESPACES, NAMESPACE) is None
    assert (cluster.store.count(JOBS), cluster.store.count(PODS)) == (0, 0)
