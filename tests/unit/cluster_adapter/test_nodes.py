from typing import Any

from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.cluster.nodes import NodeReader
from ips_common.models.node import Exclusion
from tests.unit.cluster_adapter.api import NODES, Api, Reply, a_list, refusal

DIGEST = "sha256:" + "a" * 64


def a_node(name: str = "n", **more: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/os": "linux", "pool": "gpu"}
    status: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}, "spec": {}, "status": status} | more


def test_nodes_come_page_by_page_in_order_of_their_names(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", NODES, a_list(a_node("c"), a_node("a"), more="next"), a_list(a_node("b")))

    nodes = cluster.nodes({"pool": "gpu", "zone": ""})

    assert [node.name for node in nodes] == ["a", "b", "c"]
    assert [request.query["labelSelector"] for request in api.requests] == ["pool=gpu,zone="] * 2
    assert "continue" not in api.requests[0].query
    assert api.requests[1].query["continue"] == "next"
    assert int(api.requests[1].query["limit"]) <= 500


def test_all_nodes_need_no_selector(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", NODES, a_list())

    assert cluster.nodes({}) == []
    assert "labelSelector" not in api.requests[0].query


def test_a_node_that_does_not_exist_is_none(api: Api, cluster: KubernetesCluster) -> None:
    api.on("GET", f"{NODES}/n", refusal(404, "NotFound"))
    api.on("GET", f"{NODES}/m", Reply(body=a_node("m")))

    assert cluster.node("n") is None
    assert cluster.node("m") == NodeReader().read(a_node("m"))


def test_why_a_node_is_left_out() -> None:
    reader = NodeReader()
    pressed = [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}]
    silent = [{"type": "Ready", "status": "Unknown"}]
    windows = {"name": "w", "uid": "u", "labels": {"kubernetes.io/os": "windows"}}

    assert reader.read(a_node()).exclusion is None
    assert reader.read(a_node(spec={"unschedulable": True})).exclusion is Exclusion.UNSCHEDULABLE
    assert reader.read(a_node(status={"conditions": silent})).exclusion is Exclusion.NOT_READY
    assert reader.read(a_node(status={})).exclusion is Exclusion.NOT_READY
    assert reader.read(a_node(status={"conditions": pressed})).exclusion is Exclusion.DISK_PRESSURE
    assert reader.read(a_node(metadata=windows)).exclusion is Exclusion.NOT_LINUX


def test_the_system_is_read_from_the_node_info_where_the_label_is_missing() -> None:
    unlabelled = {"name": "w", "uid": "u"}
    info = {"nodeInfo": {"operatingSystem": "windows"}, "conditions": [{"type": "Ready", "status": "True"}]}

    assert NodeReader().read(a_node(metadata=unlabelled, status=info)).linux is False
    assert NodeReader().read(a_node(metadata=unlabelled)).linux is True


def test_images_are_known_by_their_canonical_names() -> None:
    names = [f"docker.io/library/nginx@{DIGEST}", "nginx:1.27", "<none>@<none>", "not valid"]
    status = {"images": [{"names": names}, {"names": None}, {}]}

    assert NodeReader().read(a_node(status=status)).images == {
        f"docker.io/library/nginx@{DIGEST}",
        "docker.io/library/nginx:1.27",
    }
    assert NodeReader(["docker.io/library/nginx:1.27"]).read(a_node(status=status)).images == {
        "docker.io/library/nginx:1.27"
    }
    assert NodeReader([]).read(a_node(status=status)).images == frozenset()


def test_nodes_with_the_same_images_share_them() -> None:
    reader = NodeReader()
    status = {"images": [{"names": ["nginx:1.27"]}]}

    assert reader.read(a_node("a", status=status)).images is reader.read(a_node("b", status=status)).images
