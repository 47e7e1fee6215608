"""The contract of clusters on any real one: IPS_KUBECONFIG=<file> [IPS_CONTEXT=<name>] [K8S_NAMESPACE=ips].

The namespace has to exist and be of Pod Security level `restricted`; the nodes have to reach mirror.gcr.io, or the
images of IPS_TEST_IMAGES: two that exist and one that does not, separated by commas. What the tests create they delete.
"""

import os
from collections.abc import Iterator

import pytest

from ips_common.cluster.credentials import KubeconfigCredentials
from ips_common.cluster.kubernetes import KubernetesCluster
from tests.contract.cluster_contract import ClusterContract
from tests.contract.cluster_subjects import Subject

IMAGES = "mirror.gcr.io/library/busybox:1.36.1,mirror.gcr.io/library/alpine:3.20,mirror.gcr.io/library/no-such-image:1"
NODES = 3

pytestmark = pytest.mark.skipif("IPS_KUBECONFIG" not in os.environ, reason="IPS_KUBECONFIG names no cluster")


@pytest.fixture(scope="module")
def cluster() -> Iterator[KubernetesCluster]:
    credentials = KubeconfigCredentials(os.environ["IPS_KUBECONFIG"], os.environ.get("IPS_CONTEXT"))
    made = KubernetesCluster("real", credentials, os.environ.get("K8S_NAMESPACE", "ips"))
    yield made
    made.close()


class TestRealCluster(ClusterContract):
    @pytest.fixture
    def subject(self, cluster: KubernetesCluster) -> Iterator[Subject]:
        nodes = [node.name for node in cluster.nodes({}) if node.exclusion is None]
        if len(nodes) < NODES:
            pytest.skip(f"the tests need {NODES} nodes that can take pods, {len(nodes)} can")
        first, second, missing = os.environ.get("IPS_TEST_IMAGES", IMAGES).split(",")
        subject = Subject(
            cluster,
            nodes[:4],
            os.environ.get("K8S_NAMESPACE", "ips"),
            images=(first, second),
            missing=missing,
            patience=180,
        )
        yield subject
        cluster.delete_jobs(subject.task_id)
