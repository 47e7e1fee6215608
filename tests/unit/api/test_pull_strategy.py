"""A cluster without image volumes says so when a task asks for them."""

from ips_common.errors import ClusterRefused
from tests.unit.api.conftest import TASKS, Api, fields, problem

BODY = {"images": ["nginx:1.27"], "pullStrategy": "imageVolume"}
WORDS = "cluster default has no image volumes; use container"


def test_image_volumes_are_refused_where_there_are_none(api: Api) -> None:
    api.cluster.image_volumes = False
    document = problem(api.post(BODY), 422, "invalid-request")
    assert fields(document) == {"pullStrategy": WORDS}
    assert api.get(TASKS).get_json()["total"] == 0


def test_image_volumes_are_refused_in_a_dry_run_too(api: Api) -> None:
    api.cluster.image_volumes = False
    assert api.post(BODY, query="?dryRun=true").status_code == 422


def test_image_volumes_are_accepted_where_they_are(api: Api) -> None:
    assert api.post(BODY).status_code == 201


def test_containers_ask_for_nothing(api: Api) -> None:
    api.cluster.image_volumes = False
    assert api.post().status_code == 201
    assert not api.cluster.calls["supports_image_volumes"]


def test_cluster_that_is_away_is_asked_later(api: Api) -> None:
    api.cluster.away = True
    answer = api.post(BODY)
    assert (answer.status_code, answer.get_json()["pendingReason"]) == (201, "cluster")


def test_cluster_that_may_not_be_asked_gets_the_benefit_of_the_doubt(api: Api) -> None:
    api.cluster.refusal = ClusterRefused("no", status=403, reason="Forbidden")
    assert api.post(BODY).status_code == 201


def test_a_dry_run_of_a_daemonset_shows_all_nodes_at_once(api: Api) -> None:
    plan = api.post({"images": ["nginx:1.27"], "mode": "daemonset", "batchSize": 1}, query="?dryRun=true").get_json()
    assert [batch["nodes"] for batch in plan["batches"]] == [["node-0", "node-1", "node-2"]]
