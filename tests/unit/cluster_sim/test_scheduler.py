"""Where pods go, and what is said of those that can go nowhere."""

from typing import Any

from deploy.local.cluster.kinds import JOBS, PODS
from tests.unit.cluster_sim.simulated import Simulated, job

IMAGE = "a.example/x:1"


def unschedulable(cluster: Simulated, name: str) -> str:
    (condition,) = cluster.pod(name)["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    return str(condition["message"]).partition(" no new claims")[0]


def unpinned(name: str, **pod: Any) -> dict[str, Any]:
    found = job(name, "slow60.example/a:1", tolerations=[])
    spec = found["spec"]["template"]["spec"]
    del spec["affinity"]
    spec.update(pod)
    return found


def test_pod_without_wishes_goes_where_fewest_are() -> None:
    cluster = Simulated(nodes=3)
    for index in range(6):
        cluster.create(JOBS, unpinned(f"j{index}"))
        cluster.wait(0.1)
    placed = [cluster.pod(f"j{index}")["spec"]["nodeName"] for index in range(6)]
    assert sorted(placed) == [f"node-{i:05d}" for i in (0, 0, 1, 1, 2, 2)]


def test_node_selector() -> None:
    cluster = Simulated(nodes=6)
    cluster.create(JOBS, unpinned("j", nodeSelector={"pool": "gpu", "topology.kubernetes.io/zone": "z1"}))
    cluster.wait(0.1)
    assert cluster.pod("j")["spec"]["nodeName"] == "node-00004"


def test_affinity_expressions() -> None:
    cluster = Simulated(nodes=6)
    cluster.node("node-00003", labels={"disks": "8"})
    cluster.node("node-00005", labels={"disks": "2"})
    expressions = [
        {"key": "disks", "operator": "Gt", "values": ["4"]},
        {"key": "pool", "operator": "In", "values": ["cpu"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    required = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    cluster.create(JOBS, unpinned("j", affinity=affinity))
    cluster.wait(0.1)
    assert cluster.pod("j")["spec"]["nodeName"] == "node-00003"


def test_cordoned_node_takes_only_pods_that_tolerate_it() -> None:
    cluster = Simulated(nodes=1)
    cluster.node("node-00000", unschedulable=True)
    cluster.create(JOBS, job("tolerant", IMAGE, node="node-00000"))
    cluster.create(JOBS, job("j", IMAGE, node="node-00000", tolerations=[]))
    cluster.wait(0.1)
    assert cluster.pod("tolerant")["spec"]["nodeName"] == "node-00000"
    assert unschedulable(cluster, "j") == "0/1 nodes are available: 1 node(s) were unschedulable."
    cluster.node("node-00000", unschedulable=False)
    cluster.wait(0.5)
    assert cluster.pod("j")["spec"]["nodeName"] == "node-00000"


def test_taints_and_affinity_are_counted_by_reason() -> None:
    cluster = Simulated(nodes=4)
    cluster.node("node-00000", taints=[{"key": "dedicated", "value": "x", "effect": "NoSchedule"}])
    cluster.node("node-00001", taints=[{"key": "soft", "value": "x", "effect": "PreferNoSchedule"}])
    cluster.create(JOBS, unpinned("j", nodeSelector={"disk": "fast"}))
    cluster.wait(0.1)
    assert unschedulable(cluster, "j") == (
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), "
        "3 node(s) didn't match Pod's node affinity/selector."
    )


def test_toleration_by_value() -> None:
    cluster = Simulated(nodes=1)
    cluster.node("node-00000", taints=[{"key": "dedicated", "value": "x", "effect": "NoSchedule"}])
    tolerated = {"key": "dedicated", "operator": "Equal", "value": "x", "effect": "NoSchedule"}
    cluster.create(JOBS, unpinned("yes", tolerations=[tolerated]))
    cluster.create(JOBS, unpinned("no", tolerations=[{**tolerated, "value": "y"}]))
    cluster.wait(0.1)
    assert cluster.pod("yes")["spec"]["nodeName"] == "node-00000"
    assert "untolerated" in unschedulable(cluster, "no")


def test_full_node_takes_the_next_pod_when_one_has_ended() -> None:
    cluster = Simulated(nodes=2)
    cluster.node("node-00001", max_pods=1)
    cluster.create(JOBS, job("first", "slow9.example/a:1"))
    cluster.wait(0.1)
    cluster.create(JOBS, job("second", IMAGE))
    cluster.wait(0.1)
    assert unschedulable(cluster, "second") == (
        "0/2 nodes are available: 1 Too many pods, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    cluster.wait(10)
    assert cluster.pod("second")["spec"]["nodeName"] == "node-00001"


def test_pod_of_a_missing_node_is_placed_when_the_node_appears() -> None:
    cluster = Simulated(nodes=2)
    cluster.node(gone=True)
    cluster.create(JOBS, job("j", IMAGE))
    cluster.wait(5)
    assert unschedulable(cluster, "j") == (
        "0/1 nodes are available: 1 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )
    cluster.node(gone=False)
    cluster.wait(1)
    assert cluster.pod("j")["spec"]["nodeName"] == "node-00001"


def test_bound_pod_carries_its_zone_and_an_event_says_so() -> None:
    cluster = Simulated(nodes=2)
    cluster.create(JOBS, job("j", IMAGE))
    cluster.wait(0.1)
    meta = cluster.pod("j")["metadata"]
    assert meta["labels"]["topology.kubernetes.io/zone"] == "z1"
    assert ("Scheduled", f"Successfully assigned ips/{meta['name']} to node-00001") in cluster.events("j-")


def test_pod_deleted_before_it_is_placed_goes_at_once() -> None:
    cluster = Simulated(nodes=1)
    cluster.create(JOBS, job("j", IMAGE, node="nowhere", grace=30))
    cluster.wait(0.1)
    name = cluster.pod("j")["metadata"]["name"]
    cluster.delete(PODS, name)
    cluster.wait(3)
    assert cluster.get(PODS, name) is None
