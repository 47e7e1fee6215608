"""DaemonSets of the cluster in memory: a pod on each of their nodes, for as long as both exist."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ips_common.cluster.memory_workloads import Workloads, digest_of, images_of, right_now
from ips_common.models.node import Node
from ips_common.observe import ATTEMPT_LABEL, BATCH_LABEL, TASK_LABEL, ContainerSeen, Gone, JobSeen, Key, PodSeen
from ips_common.ports.cluster import Json


@dataclass
class _Set:
    """A DaemonSet with its pods, by node."""

    manifest: Json
    key: Key
    pods: dict[str, PodSeen] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        """The nodes it is meant for."""
        affinity = self.manifest["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        return [term["matchFields"][0]["values"][0] for term in terms]


class DaemonSets(Workloads):
    """What `Workloads` does to Jobs, done to DaemonSets too."""

    def __init__(
        self,
        name: str = "default",
        nodes: Iterable[Node] | int = (),
        *,
        auto: bool = True,
        clock: Callable[[], datetime] = right_now,
    ) -> None:
        """Make a cluster; see `Workloads`."""
        super().__init__(name, nodes, auto=auto, clock=clock)
        self._sets: dict[str, _Set] = {}

    @property
    def daemonsets(self) -> Mapping[str, Json]:
        """The manifests of the DaemonSets that exist, by name."""
        with self._lock:
            return {name: each.manifest for name, each in self._sets.items()}

    def remove_node(self, name: str) -> None:
        """Take a node away with the pods on it."""
        with self._lock:
            super().remove_node(name)
            for each in self._sets.values():
                self._end_pod(each, name)

    def finish(self, node: str, task_id: str | None = None) -> None:
        """Let a node's kubelet work on its pods for as long as there is anything it can do."""
        with self._lock:
            mine = [each for each in self._sets.values() if node in each.pods and task_id in {None, each.key.task_id}]
            for each in mine:
                self._pull_daemon(each, node)
            if not mine:
                super().finish(node, task_id)

    def finish_all(self) -> None:
        """Let every kubelet work."""
        with self._lock:
            super().finish_all()
            for each in self._sets.values():
                for node in list(each.pods):
                    self._pull_daemon(each, node)

    def evict(self, node: str) -> None:
        """Delete a node's DaemonSet pods; the controller makes new ones."""
        with self._lock:
            for each in self._sets.values():
                if node in each.pods:
                    self._end_pod(each, node)
                    self._start_daemon(each, node)

    def _admit_set(self, manifest: Json) -> None:
        metadata = manifest["metadata"]
        labels = metadata["labels"]
        key = Key(labels[TASK_LABEL], int(labels[ATTEMPT_LABEL]), int(labels[BATCH_LABEL]), "")
        made = self._sets[metadata["name"]] = _Set(manifest, key)
        if self.pod_refusal:
            self._refused_pods[metadata["name"]] = self.pod_refusal
            return
        for node in made.nodes:
            if node in self._nodes:
                self._start_daemon(made, node)

    def _start_daemon(self, each: _Set, node: str) -> None:
        self._serial += 1
        name = each.manifest["metadata"]["name"]
        key = replace(each.key, node=node)
        pod = PodSeen(
            key=key,
            job=name,
            name=f"{name}-{self._serial:05x}",
            uid=f"pod-uid-{self._serial}",
            phase="Pending",
            images={},
            scheduled=True,
            created=self.clock(),
            daemonset=True,
        )
        each.pods[node] = pod
        self._tell(pod)
        if self.auto:
            self._pull_daemon(each, node)

    def _pull_daemon(self, each: _Set, node: str) -> None:
        pod = each.pods[node]
        if node in self.stuck:
            return
        images: dict[int, ContainerSeen] = {}
        for index, image in enumerate(images_of(each.manifest)):
            broken = self.broken_on.get((node, image)) or self.broken.get(image)
            images[index] = broken or ContainerSeen(digest=digest_of(image))
        done = all(seen.digest is not None for seen in images.values())
        each.pods[node] = replace(pod, images=images, phase="Running" if done else "Pending")
        if each.pods[node] != pod:
            self._tell(each.pods[node])

    def _end_pod(self, each: _Set, node: str) -> None:
        if pod := each.pods.pop(node, None):
            self._tell(Gone("Pod", pod.key, pod.name))

    def _delete_set(self, name: str) -> None:
        each = self._sets.pop(name)
        self._refused_pods.pop(name, None)
        for node in list(each.pods):
            self._end_pod(each, node)

    def _existing(self) -> Iterator[JobSeen | PodSeen]:
        yield from super()._existing()
        for each in self._sets.values():
            yield from each.pods.values()
