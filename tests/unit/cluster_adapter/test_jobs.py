import pytest

from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.errors import ClusterRefused, ClusterUnavailable
from ips_common.observe import APP
from ips_common.ports.cluster import Creation, JobOutcome, Json
from tests.unit.cluster_adapter.api import EVENTS, JOBS, Api, Reply, Request, a_list, refusal

EXISTS = refusal(409, "AlreadyExists", 'jobs.batch "job-0" already exists')


def a_job(index: int = 0, batch: int = 1) -> Json:
    labels = {"app": APP, "task-id": "task-1", "attempt": "0", "batch": str(batch)}
    return {"kind": "Job", "metadata": {"name": f"job-{index}", "labels": labels}}


def test_jobs_are_created_many_at_a_time_and_reported_in_order(api: Api, cluster: KubernetesCluster) -> None:
    def answer(request: Request) -> Reply:
        return refusal(422, "Invalid", "no") if request.body["metadata"]["name"] == "job-7" else Reply(201)

    api.on("POST", JOBS, answer)
    jobs = [a_job(index) for index in range(40)]

    outcomes = cluster.create_jobs(jobs, 5)

    assert [outcome.name for outcome in outcomes] == [f"job-{index}" for index in range(40)]
    assert outcomes[7] == JobOutcome("job-7", Creation.REFUSED, "no", 422, "Invalid")
    assert {outcome.creation for outcome in (*outcomes[:7], *outcomes[8:])} == {Creation.CREATED}
    assert sorted(request.body["metadata"]["name"] for request in api.requests) == sorted(
        job["metadata"]["name"] for job in jobs
    )
    assert api.requests[0].headers["Content-Type"] == "application/json"
    assert api.requests[0].query == {"fieldValidation": "Strict"}


def test_no_more_are_in_flight_than_allowed(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, Reply(201))
    api.gather = 8

    cluster.create_jobs([a_job(index) for index in range(100)], 5)

    assert api.busiest == 8


def test_nothing_to_create_asks_nothing(api: Api, cluster: KubernetesCluster) -> None:
    assert cluster.create_jobs([], 5) == []
    assert api.requests == []


def test_a_creation_whose_answer_was_lost_is_repeated(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, Reply(cut=True), EXISTS)
    api.on("GET", JOBS, a_list(a_job()))

    assert cluster.create_jobs([a_job()], 5) == [JobOutcome("job-0", Creation.EXISTS)]


def test_jobs_that_exist_are_looked_at_with_one_list_per_batch(api: Api, cluster: KubernetesCluster) -> None:
    jobs = [a_job(index, batch=index % 2) for index in range(20)]
    api.on("POST", JOBS, EXISTS)
    api.on("GET", JOBS, a_list(*jobs))

    outcomes = cluster.create_jobs(jobs, 5)

    assert {outcome.creation for outcome in outcomes} == {Creation.EXISTS}
    assert {request.query["labelSelector"] for request in api.asked("GET", JOBS)} == {
        "app=image-prewarm,task-id=task-1,attempt=0,batch=0",
        "app=image-prewarm,task-id=task-1,attempt=0,batch=1",
    }
    assert len(api.asked("GET", JOBS)) == 2


@pytest.mark.parametrize("told_at_once", [True, False])
def test_a_job_that_is_being_deleted_does_not_count(
    api: Api, cluster: KubernetesCluster, *, told_at_once: bool
) -> None:
    message = 'object is being deleted: jobs.batch "job-0" already exists'
    leaving = a_job()
    leaving["metadata"]["deletionTimestamp"] = "2026-11-24T08:00:00Z"
    api.on("POST", JOBS, refusal(409, "AlreadyExists", message) if told_at_once else EXISTS)
    api.on("GET", JOBS, a_list(leaving))

    (outcome,) = cluster.create_jobs([a_job()], 5)

    assert outcome.creation is Creation.FAILED
    assert "still being deleted" in outcome.message


def test_a_job_that_went_away_meanwhile_is_created_again(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, EXISTS, Reply(201))
    api.on("GET", JOBS, a_list())

    assert cluster.create_jobs([a_job()], 5) == [JobOutcome("job-0", Creation.CREATED)]


def test_somebody_elses_job_of_our_name_is_no_success(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, EXISTS)
    api.on("GET", JOBS, a_list())

    (outcome,) = cluster.create_jobs([a_job()], 5)

    assert outcome.creation is Creation.REFUSED
    assert "IPS did not make" in outcome.message


def test_a_lost_race_for_the_quotas_count_is_run_again(api: Api, cluster: KubernetesCluster) -> None:
    words = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified'
    api.on("POST", JOBS, refusal(409, "Conflict", words), Reply(201))

    assert cluster.create_jobs([a_job()], 5) == [JobOutcome("job-0", Creation.CREATED)]


def test_a_used_up_quota_is_told_in_the_servers_words(api: Api, cluster: KubernetesCluster) -> None:
    words = 'jobs.batch "q1" is forbidden: exceeded quota: q, requested: count/jobs.batch=1'
    api.on("POST", JOBS, refusal(403, "Forbidden", words))

    assert cluster.create_jobs([a_job()], 5) == [JobOutcome("job-0", Creation.REFUSED, words, 403, "Forbidden")]


def test_what_could_not_be_tried_in_time_has_failed(api: Api, cluster: KubernetesCluster) -> None:
    api.down()

    outcomes = cluster.create_jobs([a_job(index) for index in range(30)], 0.3)

    assert {outcome.creation for outcome in outcomes} == {Creation.FAILED}
    assert all(outcome.message and outcome.status == 0 for outcome in outcomes)


def test_existing_jobs_that_could_not_be_looked_at_have_failed(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, EXISTS)
    api.on("GET", JOBS, refusal(503, "ServiceUnavailable"))

    assert [outcome.creation for outcome in cluster.create_jobs([a_job()], 0.3)] == [Creation.FAILED]


def test_jobs_are_deleted_with_their_pods_in_one_request(api: Api, cluster: KubernetesCluster) -> None:
    api.on("DELETE", JOBS, a_list(a_job()))

    cluster.delete_jobs("task-1", batch=2, attempt=1, unfinished_only=True)

    (request,) = api.requests
    assert request.query == {
        "labelSelector": "app=image-prewarm,task-id=task-1,batch=2,attempt=1",
        "fieldSelector": "status.successful=0",
        "propagationPolicy": "Background",
    }


def test_where_collections_may_not_be_deleted_jobs_are_deleted_one_by_one(api: Api, cluster: KubernetesCluster) -> None:
    api.on("DELETE", JOBS, refusal(403, "Forbidden", "cannot deletecollection"))
    api.on("GET", JOBS, a_list(a_job(0), more="next"), a_list(a_job(1)))
    api.on("DELETE", f"{JOBS}/job-0", Reply())
    api.on("DELETE", f"{JOBS}/job-1", refusal(404, "NotFound"))

    cluster.delete_jobs("task-1")

    deleted = [request for request in api.requests if request.method == "DELETE" and request.path != JOBS]
    assert sorted(request.path for request in deleted) == [f"{JOBS}/job-0", f"{JOBS}/job-1"]
    assert {request.query["propagationPolicy"] for request in deleted} == {"Background"}


def test_a_refused_deletion_is_raised(api: Api, cluster: KubernetesCluster) -> None:
    api.on("DELETE", f"{JOBS}/job-0", refusal(403, "Forbidden"))

    with pytest.raises(ClusterRefused, match="delete jobs in namespace ips job-0"):
        cluster.delete_named_jobs(["job-0", "job-1"])


def test_a_deletion_that_is_never_answered_is_raised(api: Api, cluster: KubernetesCluster) -> None:
    api.on("DELETE", JOBS, refusal(401, "Unauthorized"))

    with pytest.raises(ClusterUnavailable, match="deletecollection jobs"):
        cluster.delete_jobs("task-1")


@pytest.mark.parametrize(("answer", "there"), [(a_list(), False), (a_list(a_job()), True)])
def test_one_job_is_enough_to_know_that_there_are_jobs(
    api: Api, cluster: KubernetesCluster, answer: Reply, *, there: bool
) -> None:
    api.on("GET", JOBS, answer)

    assert cluster.has_jobs("task-1") is there
    assert api.requests[0].query == {"labelSelector": "app=image-prewarm,task-id=task-1", "limit": "1"}


def test_refused_pods_are_read_from_events(api: Api, cluster: KubernetesCluster) -> None:
    def event(name: str, message: str, kind: str = "Job") -> dict[str, object]:
        return {"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "message": message}

    api.on(
        "GET",
        EVENTS,
        a_list(event("a", "old"), event("b", "no", "DaemonSet"), more="next"),
        a_list(event("a", "new"), event("c", "no", "ReplicaSet")),
    )

    refusals = cluster.refusals()

    assert refusals.readable
    assert refusals.messages == {"a": "new", "b": "no"}
    assert api.requests[0].query["fieldSelector"] == "reason=FailedCreate"


def test_events_need_not_be_readable(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", EVENTS, refusal(403, "Forbidden"))

    assert not cluster.refusals().readable
