"""A control plane on a clock that moves only when told to, and the objects to put into it."""

from typing import Any

from deploy.local.cluster.clock import ManualClock
from deploy.local.cluster.control_plane import ControlPlane
from deploy.local.cluster.kinds import EVENTS, JOBS, NAMESPACES, NODES, PODS, Kind
from deploy.local.cluster.registry import DeleteOptions
from deploy.local.cluster.scenario import NodeSettings, Scenario

NAMESPACE = "ips"
Obj = dict[str, Any]


def job(name: str, *images: str, node: str = "node-00001", volumes: tuple[str, ...] = (), **spec: Any) -> Obj:
    """A Job that pulls images on a node, as containers or as image volumes."""
    pinned = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pinned]}}}
    containers: list[Obj] = [{"name": f"image-{i}", "image": image} for i, image in enumerate(images)]
    pod: Obj = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": spec.pop("grace", 0),
        "tolerations": spec.pop("tolerations", [{"operator": "Exists"}]),
        "affinity": affinity,
        "containers": containers,
    }
    if volumes:
        pod["volumes"] = [{"name": f"v{i}", "image": {"reference": image}} for i, image in enumerate(volumes)]
        containers[0]["volumeMounts"] = [{"name": f"v{i}", "mountPath": f"/v{i}"} for i in range(len(volumes))]
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, **spec, "template": {"spec": pod}}}


class Simulated:
    """The cluster under test."""

    def __init__(self, *, nodes: int = 3, **scenario: Any) -> None:
        self.clock = ManualClock()
        self.plane = ControlPlane(self.clock, Scenario.model_validate(scenario), nodes=nodes)
        self.registry = self.plane.registry
        self.store = self.plane.store
        self.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})

    def create(self, kind: Kind, obj: Obj, *, dry_run: bool = False) -> Obj:
        return self.registry.create(kind, NAMESPACE, obj, dry_run=dry_run)[0].obj

    def delete(self, kind: Kind, name: str, **options: Any) -> None:
        self.registry.delete(kind, self.registry.key(kind, NAMESPACE, name), DeleteOptions(**options))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def get(self, kind: Kind, name: str) -> Obj | None:
        item = self.store.get(kind, self.registry.key(kind, NAMESPACE, name))
        return item.obj if item else None

    def need(self, kind: Kind, name: str) -> Obj:
        found = self.get(kind, name)
        assert found is not None, f"no {kind.plural} {name}"
        return found

    def pods(self, name: str) -> list[Obj]:
        """The pods that a Job of that name has made."""
        return [
            item.obj
            for item in self.store.scan(PODS, NAMESPACE)
            if item.obj["metadata"]["labels"].get("job-name") == name
        ]

    def pod(self, name: str) -> Obj:
        (found,) = self.pods(name)
        return found

    def states(self, name: str) -> list[Any]:
        """What the containers of a Job's pod do: the reason they wait for, "running" or their exit code."""
        return [state_of(one["state"]) for one in self.pod(name)["status"]["containerStatuses"]]

    def conditions(self, name: str) -> dict[str, str]:
        """A Job's true conditions and their reasons."""
        found = self.need(JOBS, name)["status"].get("conditions", [])
        return {one["type"]: one["reason"] for one in found if one["status"] == "True"}

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages of what was said of an object whose name starts so."""
        found = [item.obj for item in self.store.scan(EVENTS, NAMESPACE)]
        found = [event for event in found if event["involvedObject"]["name"].startswith(name)]
        return [(event["reason"], event["message"]) for event in found]

    def node(self, name: str = "node-00001", **settings: Any) -> None:
        self.plane.kubelets.set_nodes(NodeSettings(pattern=name, **settings))

    def holds(self, image: str, node: str = "node-00001") -> bool:
        return self.plane.kubelets.nodes[node].pipe.holds(image)

    def node_images(self, name: str = "node-00001") -> list[str]:
        return [image["names"][-1] for image in self.need(NODES, name)["status"].get("images", [])]


def state_of(state: Obj) -> Any:
    if "waiting" in state:
        return state["waiting"]["reason"]
    return state["terminated"]["exitCode"] if "terminated" in state else "running"
