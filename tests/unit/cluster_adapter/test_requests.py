"""What every call does: credentials, retries, errors, deadlines."""

import time
from threading import Event

import pytest

from ips_common.cluster.credentials import Access
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.errors import ClusterRefused, ClusterUnavailable
from ips_common.ports.cluster import Creation
from tests.unit.cluster_adapter.api import JOBS, NODES, Api, Reply, Request, a_list, refusal
from tests.unit.cluster_adapter.conftest import FAST, Token

NODE = {"metadata": {"name": "n", "uid": "u"}}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(api: Api, cluster: KubernetesCluster, status: int) -> None:
    api.on("GET", f"{NODES}/n", refusal(status, "Busy"), refusal(status, "Busy"), Reply(body=NODE))

    node = cluster.node("n")

    assert node
    assert node.uid == "u"
    assert len(api.requests) == 3


def test_a_connection_that_breaks_is_tried_again(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", f"{NODES}/n", Reply(cut=True), Reply(body=NODE))

    assert cluster.node("n")


def test_the_server_says_when_to_come_again(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", f"{NODES}/n", refusal(429, "TooManyRequests", **{"Retry-After": "1"}), Reply(body=NODE))

    began = time.monotonic()
    cluster.node("n")

    assert time.monotonic() - began >= 1


def test_no_retry_begins_that_would_end_too_late(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", JOBS, refusal(503, "ServiceUnavailable", "etcd is away", **{"Retry-After": "30"}))

    with pytest.raises(ClusterUnavailable, match="etcd is away") as caught:
        cluster.ready(1)

    assert len(api.requests) == 1
    assert caught.value.retry_after == 30


def test_a_server_that_does_not_answer_is_unavailable(api: Api, cluster: KubernetesCluster) -> None:
    api.down()

    with pytest.raises(ClusterUnavailable, match="cluster here: list jobs in namespace ips: ") as caught:
        cluster.ready(0.3)

    assert caught.value.__cause__ is not None


def test_a_server_that_hangs_is_unavailable(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", JOBS, Reply(lines=[], hold=True))

    with pytest.raises(ClusterUnavailable, match="no answer in time"):
        cluster.ready(0.3)


def test_reading_nodes_and_deleting_jobs_take_no_longer_than_they_may(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", NODES, Reply(lines=[], hold=True))
    api.on("DELETE", JOBS, Reply(lines=[], hold=True))

    with pytest.raises(ClusterUnavailable, match="no answer in time"):
        cluster.nodes({}, timeout=0.3)
    with pytest.raises(ClusterUnavailable, match="no answer in time"):
        cluster.delete_jobs("task-1", timeout=0.3)


def test_a_refusal_is_not_tried_again(api: Api, cluster: KubernetesCluster) -> None:
    words = 'nodes is forbidden: User "ips" cannot list resource "nodes" in API group "" at the cluster scope'
    api.on("GET", NODES, refusal(403, "Forbidden", words))

    with pytest.raises(ClusterRefused, match=f"cluster here: list nodes: 403 Forbidden: {words}") as caught:
        cluster.nodes({})

    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")
    assert len(api.requests) == 1


def test_an_expired_token_is_renewed_once_for_all(api: Api, cluster: KubernetesCluster, token: Token) -> None:
    def answer(request: Request) -> Reply:
        return a_list() if request.headers["Authorization"] == "Bearer token-1" else refusal(401, "Unauthorized")

    api.on("GET", JOBS, answer)
    api.on("GET", NODES, answer)

    cluster.ready(2)
    cluster.nodes({})

    assert token.renewals == 1
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, "Unauthorized", "Unauthorized"),
        refusal(403, "Forbidden", 'jobs.batch is forbidden: User "system:anonymous" cannot list resource "jobs"'),
    ],
)
def test_credentials_that_stay_unaccepted_are_an_outage_not_a_refusal(
    api: Api, cluster: KubernetesCluster, token: Token, answer: Reply
) -> None:
    api.on("GET", JOBS, answer)

    with pytest.raises(ClusterUnavailable, match="list jobs"):
        cluster.ready(2)

    assert token.renewals == 1


def test_a_program_that_hangs_does_not_hold_a_call_up(api: Api) -> None:
    release = Event()

    class Hanging:
        def access(self, *, anew: bool) -> Access:
            assert not anew
            release.wait(10)
            return Access(api.url)

        def unreachable(self) -> None:
            raise AssertionError

    cluster = KubernetesCluster("here", Hanging(), "ips", pace=FAST)
    try:
        with pytest.raises(ClusterUnavailable, match="no credentials within"):
            cluster.ready(0.2)
    finally:
        release.set()
    cluster.close()


def test_many_requests_ask_for_credentials_once(api: Api, cluster: KubernetesCluster, token: Token) -> None:
    api.on("POST", JOBS, lambda request: Reply(201 if request.headers["Authorization"] == "Bearer token-1" else 401))
    api.gather = 8

    outcomes = cluster.create_jobs([{"metadata": {"name": f"job-{index}"}} for index in range(20)], 5)

    assert {outcome.creation for outcome in outcomes} == {Creation.CREATED}
    assert token.renewals == 1


def test_a_proxy_that_answers_in_html_is_quoted(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", JOBS, Reply(418, b"<html>teapot</html>"))

    with pytest.raises(ClusterRefused, match="418 : <html>teapot</html>"):
        cluster.ready(2)
