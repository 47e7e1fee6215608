"""What tests can do to the cluster in memory; what it promises like any other is in the contract tests."""

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from ips_common.cluster.memory import MemoryCluster, MemoryClusters, denied, digest_of, not_found
from ips_common.errors import ClusterRefused, InvalidRequest
from ips_common.manifests import job
from ips_common.models.node import Node
from ips_common.models.task import Task, TaskSpec
from ips_common.observe import Gone, JobSeen, PodSeen
from ips_common.ports.cluster import Creation, Json, Synced

NOW = datetime(2026, 11, 24, 8, 15, 30, tzinfo=UTC)
IMAGES = ("nginx:1.27", "registry.example/missing:1")


def a_job(node: str, task_id: str = "task-1", images: tuple[str, ...] = IMAGES) -> Json:
    return job(
        Task(task_id=task_id, spec=TaskSpec(images=images), created_at=NOW),
        1,
        node,
        namespace="ips",
        worker_image="busybox",
        worker_pull_policy="IfNotPresent",
        ttl_seconds=60,
        request_id=None,
    )


def pod_of(cluster: MemoryCluster, node: str) -> PodSeen | None:
    with cluster.watch(Event(), seconds=1) as watch:
        pods = [event for event in watch.get(0) if isinstance(event, PodSeen) and event.key.node == node]
    return pods[-1] if pods else None


def test_jobs_wait_for_the_test_where_it_wants_to_drive() -> None:
    cluster = MemoryCluster(nodes=2, auto=False)
    cluster.create_jobs([a_job("node-0"), a_job("node-1")], 1)

    cluster.finish("node-0")

    assert cluster.job_of("node-0").finished == "Complete"
    assert cluster.job_of("node-1").finished == ""
    cluster.finish_all()
    assert cluster.job_of("node-1").finished == "Complete"
    assert [key.node for key in cluster.created] == ["node-0", "node-1"]


def test_what_is_broken_can_be_mended() -> None:
    cluster = MemoryCluster(nodes=2)
    cluster.broken[IMAGES[1]] = not_found(IMAGES[1])
    cluster.broken_on["node-0", IMAGES[0]] = denied(IMAGES[0])
    cluster.create_jobs([a_job("node-0"), a_job("node-1")], 1)

    first, second = pod_of(cluster, "node-0"), pod_of(cluster, "node-1")
    assert first
    assert second
    assert [image.waiting for image in first.images.values()] == ["ImagePullBackOff"] * 2
    assert second.images[0].digest == digest_of(IMAGES[0])
    assert "not found" in second.images[1].message

    cluster.broken.clear()
    cluster.finish("node-1")
    assert cluster.job_of("node-1").finished == "Complete"


def test_a_stuck_node_does_nothing_until_its_deadline() -> None:
    cluster = MemoryCluster(nodes=1)
    cluster.stuck.add("node-0")
    cluster.create_jobs([a_job("node-0")], 1)

    pod = pod_of(cluster, "node-0")
    assert pod
    assert (pod.scheduled, pod.images) == (True, {})
    cluster.expire("node-0")

    assert cluster.job_of("node-0").reason == "DeadlineExceeded"
    assert pod_of(cluster, "node-0") is None


def test_a_job_whose_node_vanished_waits_for_it() -> None:
    cluster = MemoryCluster(nodes=2, auto=False)
    cluster.create_jobs([a_job("node-0")], 1)

    cluster.remove_node("node-0")

    pod = pod_of(cluster, "node-0")
    assert pod
    assert pod.unschedulable
    assert cluster.node("node-0") is None
    cluster.add_node(Node("node-0", "another", {}))
    node = cluster.node("node-0")
    assert node
    assert node.uid == "another"


def test_a_refusal_is_the_servers_answer_to_everything() -> None:
    cluster = MemoryCluster(nodes=1)
    cluster.refusal = ClusterRefused("no rights", status=403, reason="Forbidden")

    (outcome,) = cluster.create_jobs([a_job("node-0")], 1)

    assert (outcome.creation, outcome.status) == (Creation.REFUSED, 403)
    with pytest.raises(ClusterRefused):
        cluster.nodes({})


def test_calls_are_counted() -> None:
    cluster = MemoryCluster(nodes=3)
    cluster.nodes({})
    cluster.create_jobs([a_job("node-0"), a_job("node-1")], 1)

    assert cluster.calls == {"nodes": 1, "create_jobs": 2}


def test_a_watch_that_would_wait_lets_the_test_go_on_instead() -> None:
    now = [NOW]
    cluster = MemoryCluster(nodes=1, auto=False, clock=lambda: now[0])
    waited: list[float] = []

    def on_idle(timeout: float) -> None:
        waited.append(timeout)
        now[0] += timedelta(seconds=timeout)
        cluster.create_jobs([a_job("node-0")], 1)

    cluster.on_idle = on_idle
    with cluster.watch(Event(), seconds=8) as watch:
        assert watch.get(5) == [Synced()]
        assert [type(event) for event in watch.get(5)] == [JobSeen, PodSeen, JobSeen]
        assert watch.get(5) == []
        assert watch.get(5) == []

    assert waited == [5, 5]


def test_what_vanishes_in_an_outage_is_gone_after_it() -> None:
    cluster = MemoryCluster(nodes=1, auto=False)
    cluster.create_jobs([a_job("node-0")], 1)
    with cluster.watch(Event(), seconds=60) as watch:
        watch.get(0)
        cluster.away = True
        cluster.expire("node-0")
        watch.get(0)
        cluster.away = False

        after = watch.get(0)

    assert [type(event) for event in after] == [JobSeen, Gone, Synced]


def test_clusters_are_found_by_name() -> None:
    clusters = MemoryClusters(MemoryCluster("a"), MemoryCluster("b"))

    assert clusters.names() == ["a", "b"]
    assert clusters.get("b").name == "b"
    with pytest.raises(InvalidRequest):
        clusters.get("c")
