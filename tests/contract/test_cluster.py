"""The contract of clusters, on the fake and on the real adapter before a simulated API server."""

from collections.abc import Iterator

import pytest

from deploy.local.cluster.running import RunningCluster, running_cluster
from tests.contract.cluster_contract import ClusterContract
from tests.contract.cluster_subjects import Subject, in_memory, simulated


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """A simulated cluster whose registries and kubelets are quick."""
    folder = tmp_path_factory.mktemp("cluster")
    scenario = folder / "scenario.yaml"
    scenario.write_text(
        "images: [{pattern: '*', seconds: 0.05}]\n"
        "kubelet: {pull_latency_seconds: 0.01, status_seconds: 0.05, backoff_scale: 0.1}\n",
        encoding="utf-8",
    )
    with running_cluster(folder, nodes=4, scenario=scenario) as cluster:
        yield cluster


class TestMemoryCluster(ClusterContract):
    @pytest.fixture
    def subject(self) -> Subject:
        return in_memory()


class TestKubernetesCluster(ClusterContract):
    @pytest.fixture
    def subject(self, running: RunningCluster) -> Iterator[Subject]:
        with simulated(running) as made:
            yield made
