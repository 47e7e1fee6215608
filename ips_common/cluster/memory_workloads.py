"""What goes on inside the cluster in memory: Job controller, scheduler and kubelets, reduced to what can be watched."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Condition, RLock

from ips_common.cluster.memory_watch import MemoryWatch
from ips_common.errors import ClusterRefused
from ips_common.models.node import Node
from ips_common.observe import ContainerSeen, Gone, JobSeen, Key, Observation, PodSeen
from ips_common.ports.cluster import Json


def right_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


def digest_of(image: str) -> str:
    """Return the digest this cluster's registries give an image."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def not_found(image: str) -> ContainerSeen:
    """Return what a kubelet says of an image that does not exist."""
    return ContainerSeen(
        waiting="ImagePullBackOff",
        message=f'Back-off pulling image "{image}": ErrImagePull: failed to pull and unpack image "{image}": '
        f'failed to resolve reference "{image}": {image}: not found',
    )


def denied(image: str) -> ContainerSeen:
    """Return what a kubelet says of an image it may not pull."""
    return ContainerSeen(
        waiting="ImagePullBackOff",
        message=f'Back-off pulling image "{image}": ErrImagePull: failed to pull and unpack image "{image}": '
        f'failed to resolve reference "{image}": pull access denied, repository does not exist or may require '
        "authorization: authorization failed: no basic auth credentials",
    )


def images_of(manifest: Json) -> tuple[str, ...]:
    """Return the images that a Job or DaemonSet pulls."""
    pod = manifest["spec"]["template"]["spec"]
    volumes = [volume["image"]["reference"] for volume in pod["volumes"] if "image" in volume]
    return tuple(volumes or (container["image"] for container in pod["containers"]))


@dataclass
class _Work:
    """A Job with its pod."""

    manifest: Json
    job: JobSeen
    pod: PodSeen | None = None

    @property
    def images(self) -> tuple[str, ...]:
        """The images the Job pulls."""
        return images_of(self.manifest)


class Workloads:
    """The Jobs, pods and nodes of one cluster, and what a test does to them."""

    def __init__(
        self,
        name: str = "default",
        nodes: Iterable[Node] | int = (),
        *,
        auto: bool = True,
        clock: Callable[[], datetime] = right_now,
    ) -> None:
        """Make a cluster.

        Args:
            name: its name in the configuration.
            nodes: its nodes, or how many to make: `node-0`, `node-1`, ...
            auto: whether Jobs run by themselves, at once.
            clock: gives creation times, and the time by which a watch is over.
        """
        if isinstance(nodes, int):
            nodes = [Node(f"node-{index}", f"uid-{index}", {}) for index in range(nodes)]
        self.name = name
        self.auto = auto
        self.clock = clock
        self.calls: Counter[str] = Counter()
        """How often each method was called; `create_jobs` counts Jobs."""
        self.created: list[Key] = []
        """Every Job ever created, in order."""
        self.broken: dict[str, ContainerSeen] = {}
        """Image → what kubelets say instead of pulling it."""
        self.broken_on: dict[tuple[str, str], ContainerSeen] = {}
        """(node, image) → what that node's kubelet says instead of pulling it."""
        self.stuck: set[str] = set()
        """Nodes whose kubelet does nothing."""
        self.refusal: ClusterRefused | None = None
        """What the API server answers to everything but health, if it refuses."""
        self.quota: int | None = None
        """How many Jobs may exist."""
        self.pod_refusal = ""
        """What admission says of every new pod, if it refuses pods."""
        self.events_readable = True
        self.image_volumes = True
        """Whether pods may have image volumes."""
        self.on_idle: Callable[[float], None] | None = None
        """Called with the timeout by a watch that would wait for something to happen, instead of waiting."""
        self._nodes = {node.name: node for node in nodes}
        self._work: dict[str, _Work] = {}
        self._refused_pods: dict[str, str] = {}
        self._watches: list[MemoryWatch] = []
        self._away = False
        self._serial = 0
        self._lock = RLock()
        self.changed = Condition(self._lock)

    @property
    def away(self) -> bool:
        """Whether the API server cannot be reached."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        with self._lock:
            if away != self._away:
                self._away = away
                for watch in self._watches:
                    watch.lose("connection refused") if away else watch.begin(self._existing())

    @property
    def jobs(self) -> Mapping[str, Json]:
        """The manifests of the Jobs that exist, by name."""
        with self._lock:
            return {name: work.manifest for name, work in self._work.items()}

    def job_of(self, node: str, task_id: str | None = None) -> JobSeen:
        """Return the newest Job of a node.

        Raises:
            KeyError: it has none.
        """
        return self._of(node, task_id)[-1].job

    def add_node(self, node: Node) -> None:
        """Add a node, or replace the one of its name."""
        with self._lock:
            self._nodes[node.name] = node

    def remove_node(self, name: str) -> None:
        """Take a node away with the pods on it; their Jobs go on waiting for one that can never be."""
        with self._lock:
            del self._nodes[name]
            for work in self._work.values():
                if work.job.key.node == name and work.pod and not work.job.finished:
                    self._tell(Gone("Pod", work.job.key, work.pod.name))
                    self._start_pod(work)

    def finish(self, node: str, task_id: str | None = None) -> None:
        """Let a node's kubelet work on its Jobs for as long as there is anything it can do.

        Raises:
            KeyError: the node has no Job.
        """
        with self._lock:
            for work in self._of(node, task_id):
                if work.pod and not work.job.finished:
                    self._pull(work)

    def finish_all(self) -> None:
        """Let every kubelet work."""
        with self._lock:
            for work in list(self._work.values()):
                if work.pod and not work.job.finished:
                    self._pull(work)

    def expire(self, node: str, task_id: str | None = None) -> None:
        """Let the deadline of a node's unfinished Jobs pass: the pod goes, the Job has failed.

        Raises:
            KeyError: the node has no Job.
        """
        with self._lock:
            for work in self._of(node, task_id):
                if work.job.finished:
                    continue
                if work.pod:
                    self._tell(Gone("Pod", work.job.key, work.pod.name))
                    work.pod = None
                self._set_job(
                    work,
                    finished="Failed",
                    reason="DeadlineExceeded",
                    message="Job was active longer than specified deadline",
                )

    def _admit(self, key: Key, manifest: Json) -> None:
        """Take in a new Job and let the controller make its pod."""
        name = manifest["metadata"]["name"]
        work = self._work[name] = _Work(manifest, JobSeen(key, name, self.clock()))
        self.created.append(key)
        self._tell(work.job)
        if self.pod_refusal:
            self._refused_pods[name] = self.pod_refusal
        else:
            self._start_pod(work)
            if self.auto:
                self._pull(work)

    def _start_pod(self, work: _Work) -> None:
        self._serial += 1
        key, name = work.job.key, work.job.name
        there = key.node in self._nodes
        message = "" if there else "0 nodes are available: node(s) didn't satisfy plugin(s) [NodeAffinity]."
        work.pod = PodSeen(
            key=key,
            job=name,
            name=f"{name}-{self._serial:05x}",
            uid=f"pod-uid-{self._serial}",
            phase="Pending",
            images={},
            scheduled=there,
            unschedulable=message,
            created=self.clock(),
        )
        self._tell(work.pod)
        if not work.job.has_pod:
            self._set_job(work, has_pod=True)

    def _pull(self, work: _Work) -> None:
        pod = work.pod
        if pod is None or not pod.scheduled or pod.key.node in self.stuck:
            return
        images: dict[int, ContainerSeen] = {}
        for index, image in enumerate(work.images):
            broken = self.broken_on.get((pod.key.node, image)) or self.broken.get(image)
            images[index] = broken or ContainerSeen(digest=digest_of(image))
        done = all(seen.digest is not None for seen in images.values())
        work.pod = replace(pod, images=images, phase="Succeeded" if done else "Pending")
        if work.pod != pod:
            self._tell(work.pod)
        if done:
            self._set_job(
                work,
                finished="Complete",
                reason="CompletionsReached",
                message="Reached expected number of succeeded pods",
            )

    def _set_job(
        self, work: _Work, *, has_pod: bool = True, finished: str = "", reason: str = "", message: str = ""
    ) -> None:
        work.job = replace(work.job, has_pod=has_pod, finished=finished, reason=reason, message=message)
        self._tell(work.job)

    def _delete(self, work: _Work) -> None:
        del self._work[work.job.name]
        self._refused_pods.pop(work.job.name, None)
        self._tell(Gone("Job", work.job.key, work.job.name))
        if work.pod:
            self._tell(Gone("Pod", work.job.key, work.pod.name))

    def _of(self, node: str, task_id: str | None) -> list[_Work]:
        found = [
            work
            for work in self._work.values()
            if work.job.key.node == node and task_id in {None, work.job.key.task_id}
        ]
        if not found:
            raise KeyError(f"{node} has no Job")
        return found

    def _existing(self) -> Iterator[JobSeen | PodSeen]:
        for work in self._work.values():
            yield work.job
        for work in self._work.values():
            if work.pod:
                yield work.pod

    def _tell(self, seen: Observation) -> None:
        if not self._away:
            for watch in self._watches:
                watch.tell(seen)
