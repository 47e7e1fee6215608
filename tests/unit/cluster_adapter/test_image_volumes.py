import pytest

from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.errors import ClusterRefused, ClusterUnavailable
from tests.unit.cluster_adapter.api import JOBS, Api, Reply, Request, refusal


def accept(request: Request) -> Reply:
    return Reply(201, request.body)


def drop(request: Request) -> Reply:
    for volume in request.body["spec"]["template"]["spec"]["volumes"]:
        del volume["image"]
    return Reply(201, request.body)


def test_a_server_that_keeps_the_volume_supports_it(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, accept)

    assert cluster.supports_image_volumes()
    assert cluster.supports_image_volumes()

    (request,) = api.asked("POST", JOBS)
    assert request.query["dryRun"] == "All"


@pytest.mark.parametrize(
    "answer", [drop, refusal(422, "Invalid", "spec.template.spec.volumes[0]: must specify a volume type")]
)
def test_a_server_that_drops_or_misses_the_volume_does_not(api: Api, cluster: KubernetesCluster, answer: Reply) -> None:
    api.on("POST", JOBS, answer)

    assert not cluster.supports_image_volumes()


def test_a_server_that_does_not_let_itself_be_asked_is_asked_again(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, refusal(403, "Forbidden", "no"), accept)

    with pytest.raises(ClusterRefused):
        cluster.supports_image_volumes()
    assert cluster.supports_image_volumes()


def test_a_server_that_is_away_says_nothing(api: Api, cluster: KubernetesCluster) -> None:
    api.on("POST", JOBS, refusal(503, "ServiceUnavailable", "no"))

    with pytest.raises(ClusterUnavailable):
        cluster.supports_image_volumes()


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, "BadRequest", 'admission webhook "policy.example" does not support dry run'),
        refusal(400, "BadRequest", 'admission webhook "policy.example" denied the request: volumes[0]: no'),
        refusal(422, "Invalid", "ValidatingAdmissionPolicy 'registries' denied request: registry not allowed"),
    ],
)
def test_admission_that_does_not_like_the_question_says_nothing_of_the_server(
    api: Api, cluster: KubernetesCluster, answer: Reply
) -> None:
    api.on("POST", JOBS, answer)

    with pytest.raises(ClusterRefused):
        cluster.supports_image_volumes()
