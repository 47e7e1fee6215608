"""Clusters to hold to the contract: in memory, simulated, real; each with the means to bring trouble about."""

import json
import ssl
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from deploy.local.cluster.running import RunningCluster
from ips_common.cluster.credentials import KubeconfigCredentials
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.cluster.memory import MemoryCluster, not_found
from ips_common.cluster.watching import Rhythm
from ips_common.manifests import daemonset, job
from ips_common.models.task import Mode, PullStrategy, Task, TaskSpec
from ips_common.naming import new_task_id
from ips_common.ports.cluster import Cluster, Json

DEPLOY = Path(__file__).parents[2] / "deploy"
SET_UP = ("k8s/base/namespace.yaml", "k8s/base/rbac.yaml", "local/cluster/bindings.yaml")
MISSING = "registry.example/missing:1"


def privileged(manifest: Json) -> Json:
    """Return a Job whose pods a namespace of Pod Security `restricted` does not admit."""
    changed: Json = json.loads(json.dumps(manifest))
    changed["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    return changed


@dataclass
class Subject:
    """A cluster with some nodes, and a task to give it work of."""

    cluster: Cluster
    nodes: Sequence[str]
    namespace: str = "ips"
    images: tuple[str, ...] = ("registry.example/app:1", "registry.example/sidecar:2")
    missing: str = MISSING
    worker_image: str = "mirror.gcr.io/library/busybox:1.37.0-musl"
    task_id: str = field(default_factory=lambda: new_task_id(datetime.now(UTC), uuid.uuid4().hex[:8]))
    patience: float = 30
    """Seconds within which what should happen does."""
    unwelcome: Callable[[Json], Json] = privileged
    """Change a Job so that admission refuses its pods."""
    allow_jobs: Callable[[int], None] | None = None
    """Set a quota on the number of Jobs."""
    outage: Callable[[], AbstractContextManager[None]] | None = None
    """Make the API server unreachable for a while."""

    def job(
        self,
        node: str,
        *images: str,
        batch: int = 1,
        attempt: int = 0,
        strategy: PullStrategy = PullStrategy.CONTAINER,
        task_id: str | None = None,
    ) -> Json:
        """Return a Job of the task, or another, as the batch function makes it."""
        spec = TaskSpec(images=images or self.images, pull_strategy=strategy)
        task = Task(task_id=task_id or self.task_id, spec=spec, created_at=datetime.now(UTC), attempt=attempt)
        return job(
            task,
            batch,
            node,
            namespace=self.namespace,
            worker_image=self.worker_image,
            worker_pull_policy="IfNotPresent",
            ttl_seconds=600,
            request_id="contract",
        )

    def daemonset(self, nodes: Sequence[str], *, attempt: int = 0) -> Json:
        """Return the task's DaemonSet, as the batch function makes it."""
        spec = TaskSpec(images=self.images, mode=Mode.DAEMONSET)
        task = Task(task_id=self.task_id, spec=spec, created_at=datetime.now(UTC), attempt=attempt)
        return daemonset(
            task,
            nodes,
            namespace=self.namespace,
            worker_image=self.worker_image,
            worker_pull_policy="IfNotPresent",
            request_id="contract",
        )


def in_memory() -> Subject:
    """Return a cluster in memory."""
    cluster = MemoryCluster(nodes=4)
    cluster.broken[MISSING] = not_found(MISSING)

    @contextmanager
    def outage() -> Iterator[None]:
        cluster.away = True
        yield
        cluster.away = False

    def unwelcome(manifest: Json) -> Json:
        cluster.pod_refusal = 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest"'
        return manifest

    def allow_jobs(number: int) -> None:
        cluster.quota = number

    return Subject(
        cluster,
        [node.name for node in cluster.nodes({})],
        unwelcome=unwelcome,
        allow_jobs=allow_jobs,
        outage=outage,
    )


@contextmanager
def simulated(running: RunningCluster) -> Iterator[Subject]:
    """Yield a namespace of its own in a simulated cluster, seen with the rights the functions have in production."""
    namespace = f"ips-{uuid.uuid4().hex[:8]}"
    administrator = Administrator(running, namespace)
    administrator.set_up()
    cluster = KubernetesCluster(
        "simulated", KubeconfigCredentials(str(running.kubeconfig), "ips"), namespace, rhythm=Rhythm(open=0.5)
    )

    @contextmanager
    def outage() -> Iterator[None]:
        running.command("unavailable", {"seconds": 600})
        yield
        running.command("faults/clear", {})

    yield Subject(
        cluster,
        [node.name for node in cluster.nodes({})],
        namespace,
        allow_jobs=administrator.limit_jobs,
        outage=outage,
    )
    cluster.close()


class Administrator:
    """Sets a namespace of a simulated cluster up, as the deployment's manifests have it."""

    def __init__(self, running: RunningCluster, namespace: str) -> None:
        self._running = running
        self._namespace = namespace
        self._tls = ssl.create_default_context(cafile=str(running.authority))

    def set_up(self) -> None:
        """Create the namespace, and give the functions' account the rights it has in production."""
        for file in SET_UP:
            for document in yaml.safe_load_all((DEPLOY / file).read_text(encoding="utf-8")):
                self._create(document)

    def limit_jobs(self, number: int) -> None:
        """Set a quota on the number of Jobs."""
        spec = {"hard": {"count/jobs.batch": str(number)}}
        self._post(
            f"/api/v1/namespaces/{self._namespace}/resourcequotas",
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec},
        )

    def _create(self, document: dict[str, Any]) -> None:
        kind, metadata = document["kind"], document["metadata"]
        plural = f"{kind.lower()}s"
        if kind == "Namespace":
            metadata["name"] = self._namespace
            return self._post("/api/v1/namespaces", document)
        path = "/apis/rbac.authorization.k8s.io/v1"
        if kind.startswith("Cluster"):
            # The same for all namespaces, so the second time it is there.
            return self._post(f"{path}/{plural}", document, allow=409)
        metadata["namespace"] = self._namespace
        return self._post(f"{path}/namespaces/{self._namespace}/{plural}", document)

    def _post(self, path: str, body: Any, *, allow: int | None = None) -> None:
        request = urllib.request.Request(
            self._running.url + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._running.token()}", "Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, context=self._tls, timeout=10).close()
        except urllib.error.HTTPError as error:
            with error:
                if error.code != allow:
                    raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None
