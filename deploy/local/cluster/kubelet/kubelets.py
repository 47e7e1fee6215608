"""All kubelets of the cluster, and the commands that make nodes misbehave."""

from fnmatch import fnmatchcase
from typing import Any

from deploy.local.cluster.clock import Clock, Timer, stamp
from deploy.local.cluster.events import EventRecorder
from deploy.local.cluster.kinds import NODES, PODS
from deploy.local.cluster.kubelet.images import MIB, Registry
from deploy.local.cluster.kubelet.node import (
    name_of,
    node_object,
    pressure_condition,
    ready_condition,
    reported_images,
    taints_of,
)
from deploy.local.cluster.kubelet.pulling import Pipe
from deploy.local.cluster.kubelet.status import rejected
from deploy.local.cluster.kubelet.worker import PodWorker
from deploy.local.cluster.pods import ENDED, has_ended
from deploy.local.cluster.registry import DeleteOptions
from deploy.local.cluster.registry import Registry as Objects
from deploy.local.cluster.scenario import KubeletSettings, NodeSettings
from deploy.local.cluster.store import Change, Key

_MANAGED_TAINT = "node.kubernetes.io/"
_CORDON = "node.kubernetes.io/unschedulable"


class Kubelet:
    """One node: what it holds, what it runs and what is wrong with it."""

    __slots__ = (
        "_all",
        "clock",
        "gone",
        "images_timer",
        "name",
        "pipe",
        "pressed",
        "ready",
        "registry",
        "settings",
        "stuck",
        "workers",
    )

    def __init__(self, owner: "Kubelets", name: str) -> None:
        self._all = owner
        self.name = name
        self.clock = owner.clock
        self.settings = owner.settings
        self.registry = owner.images
        self.pipe = Pipe(owner.clock, owner.settings)
        self.workers: dict[Key, PodWorker] = {}
        self.ready: bool | str = True
        self.pressed = self.stuck = self.gone = False
        self.images_timer: Timer | None = None

    @property
    def works(self) -> bool:
        """Whether it does anything at all."""
        return self.ready is True and not self.stuck and not self.gone

    def run(self, pod: dict[str, Any]) -> None:
        """Take a pod on, or refuse it."""
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if self.pressed:
            worker = PodWorker(self, pod)
            said = "The node had condition: [DiskPressure]. "
            self.say(worker, "Evicted", said, warning=True)
            now = stamp(self.clock.now())
            self.report(worker, rejected(pod["status"], now, "Evicted", f"Pod was rejected: {said}"))
            return
        worker = self.workers[key] = PodWorker(self, pod)
        worker.start()

    def report(self, worker: PodWorker, status: dict[str, Any]) -> None:
        """Write the pod's status; a pod that has ended is forgotten."""
        key = (worker.pod["metadata"]["namespace"], worker.pod["metadata"]["name"])
        uid = worker.pod["metadata"]["uid"]
        objects = self._all.objects
        item = objects.store.get(PODS, key)
        if item is not None and item.obj["metadata"]["uid"] == uid:
            objects.edit(PODS, key, lambda pod: {**pod, "status": status})
        if status["phase"] in ENDED:
            self.workers.pop(key, None)
        self._note_images()

    def say(self, worker: PodWorker, reason: str, message: str, *, warning: bool = False, path: str = "") -> None:
        """Record an Event about a pod."""
        if self.settings.events:
            events = self._all.events
            events.record(
                PODS, worker.pod, reason, message, component="kubelet", host=self.name, warning=warning, path=path
            )

    def _note_images(self) -> None:
        if self.images_timer is None and self.works:
            self.images_timer = self.clock.after(self.settings.node_status_seconds, self.report_images)

    def report_images(self) -> None:
        """Write the node's images into its status."""
        self.images_timer = None
        if not self.works:
            return
        images = reported_images(self.pipe.images())

        def change(node: dict[str, Any]) -> dict[str, Any]:
            if node["status"].get("images", []) == images:
                return node
            return {**node, "status": {**node["status"], "images": images}}

        self._all.objects.edit(NODES, ("", self.name), change)

    def stop(self) -> None:
        """Forget all pods without a word."""
        for worker in tuple(self.workers.values()):
            worker.abandon()
        self.workers.clear()


class Kubelets:
    """Starts pods on the nodes they are bound to."""

    def __init__(
        self, objects: Objects, events: EventRecorder, clock: Clock, images: Registry, settings: KubeletSettings
    ) -> None:
        self.objects = objects
        self.events = events
        self.clock = clock
        self.images = images
        self.settings = settings
        self.nodes: dict[str, Kubelet] = {}
        self._indexes: dict[str, int] = {}
        self._count = 0
        objects.store.listen(PODS, self._on_pod)

    def add_nodes(self, count: int) -> None:
        """Let the cluster begin with that many nodes."""
        self._count = count
        for index in range(count):
            name = name_of(index)
            self._indexes[name] = index
            self.nodes[name] = Kubelet(self, name)
            self.objects.create(NODES, "", node_object(index, count, stamp(self.clock.now())))

    def configure(self, settings: KubeletSettings) -> None:
        """Change how all kubelets work."""
        self.settings = settings
        for kubelet in self.nodes.values():
            kubelet.settings = kubelet.pipe.settings = settings
            kubelet.pipe.changed()

    def set_nodes(self, settings: NodeSettings) -> list[str]:
        """Change the nodes that the pattern or pool matches; returns their names."""
        found = [name for name in self.nodes if fnmatchcase(name, settings.pattern) and self._in_pool(name, settings)]
        for name in found:
            self._set_node(self.nodes[name], settings)
        return found

    def _in_pool(self, name: str, settings: NodeSettings) -> bool:
        item = self.objects.store.get(NODES, ("", name))
        labels = item.obj["metadata"].get("labels") or {} if item else {}
        return settings.pool is None or labels.get("pool") == settings.pool

    def _on_pod(self, change: Change) -> None:
        pod = change.item.obj
        kubelet = self.nodes.get(pod["spec"].get("nodeName", ""))
        if kubelet is None:
            return
        bound = change.previous is None or not change.previous.obj["spec"].get("nodeName")
        deleting = "deletionTimestamp" in pod["metadata"]
        if change.type == "DELETED" or deleting:
            self.clock.after(0, self._end_pod, kubelet, change.item.key, pod["metadata"]["uid"])
        elif bound:
            self.clock.after(0, self._run_pod, kubelet, change.item.key)

    def _run_pod(self, kubelet: Kubelet, key: Key) -> None:
        item = self.objects.store.get(PODS, key)
        if item is None or not kubelet.works or key in kubelet.workers:
            return
        pod = item.obj
        here = pod["spec"].get("nodeName") == kubelet.name
        if here and not has_ended(pod) and "deletionTimestamp" not in pod["metadata"]:
            kubelet.run(pod)

    def _end_pod(self, kubelet: Kubelet, key: Key, uid: str) -> None:
        if not kubelet.works:
            return
        worker = kubelet.workers.pop(key, None)
        if worker is not None and worker.pod["metadata"]["uid"] == uid:
            worker.kill()
        item = self.objects.store.get(PODS, key)
        if item is not None and item.obj["metadata"].get("deletionGracePeriodSeconds"):
            self.objects.delete(PODS, key, DeleteOptions(grace_seconds=0, uid=uid))

    def _set_node(self, kubelet: Kubelet, settings: NodeSettings) -> None:
        if settings.gone is not None:
            self._set_gone(kubelet, gone=settings.gone)
        pipe = kubelet.pipe
        if settings.bandwidth_mib is not None:
            pipe.bandwidth_mib = settings.bandwidth_mib
        if settings.disk_free_mib is not None:
            pipe.free_bytes = settings.disk_free_mib * MIB
        if settings.stuck is not None:
            kubelet.stuck = settings.stuck
        if settings.ready is not None:
            kubelet.ready = settings.ready
        if settings.disk_pressure is not None:
            kubelet.pressed = settings.disk_pressure
        for reference in settings.images:
            pipe.add(self.images.image(reference))
        pipe.hung = not kubelet.works
        pipe.changed()
        self.objects.edit(NODES, ("", kubelet.name), lambda node: self._changed(node, kubelet, settings))
        if settings.images:
            kubelet.report_images()
        if kubelet.works and (settings.stuck is False or settings.ready is True or settings.gone is False):
            self._catch_up(kubelet)

    def _changed(self, node: dict[str, Any], kubelet: Kubelet, settings: NodeSettings) -> dict[str, Any]:
        now = stamp(self.clock.now())
        meta = {**node["metadata"], "labels": {**(node["metadata"].get("labels") or {}), **settings.labels}}
        status, spec = dict(node["status"]), dict(node["spec"])
        conditions = {one["type"]: one for one in status["conditions"]}
        if settings.ready is not None:
            conditions["Ready"] = ready_condition(ready=settings.ready, now=now)
        if settings.disk_pressure is not None:
            conditions["DiskPressure"] = pressure_condition(pressed=settings.disk_pressure, now=now)
        status["conditions"] = list(conditions.values())
        if settings.max_pods is not None:
            status["allocatable"] = {**status["allocatable"], "pods": str(settings.max_pods)}
        kept = [t for t in spec.get("taints") or () if not t["key"].startswith(_MANAGED_TAINT) or t["key"] == _CORDON]
        if settings.taints is not None:
            kept = list(settings.taints)
        spec["taints"] = [*kept, *taints_of(ready=kubelet.ready, pressed=kubelet.pressed)]
        if settings.unschedulable is not None:
            spec["unschedulable"] = settings.unschedulable
        spec = {name: value for name, value in spec.items() if value}
        return {**node, "metadata": meta, "spec": spec, "status": status}

    def _set_gone(self, kubelet: Kubelet, *, gone: bool) -> None:
        store = self.objects.store
        if gone and not kubelet.gone:
            kubelet.stop()
            kubelet.pipe.reset()
            store.remove(NODES, ("", kubelet.name))
        elif not gone and kubelet.gone:
            index = self._indexes[kubelet.name]
            self.objects.create(NODES, "", node_object(index, self._count, stamp(self.clock.now())))
        kubelet.gone = gone

    def _catch_up(self, kubelet: Kubelet) -> None:
        """A kubelet that works again looks at every pod bound to it."""
        for item in list(self.objects.store.scan(PODS)):
            if item.obj["spec"].get("nodeName") == kubelet.name:
                self.clock.after(0, self._run_pod, kubelet, item.key)
                if "deletionTimestamp" in item.obj["metadata"]:
                    self.clock.after(0, self._end_pod, kubelet, item.key, item.obj["metadata"]["uid"])
