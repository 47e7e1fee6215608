"""A real cluster: the port's calls, each turned into requests on the background loop.

Only raw JSON moves on the hot paths, and of each object no more is kept than planning and tracking need.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from threading import Event
from typing import Any, TypeVar

from ips_common.cluster.background import Background, background
from ips_common.cluster.credentials import Credentials
from ips_common.cluster.image_volumes import ImageVolumes
from ips_common.cluster.jobs import Jobs
from ips_common.cluster.kubernetes_watch import KubernetesWatch
from ips_common.cluster.nodes import NodeReader
from ips_common.cluster.pages import pages
from ips_common.cluster.status import Call, failure
from ips_common.cluster.transport import Pace, Transport
from ips_common.cluster.watching import Rhythm, Watcher
from ips_common.errors import ClusterRefused
from ips_common.models.node import Node
from ips_common.observe import ATTEMPT_LABEL, BATCH_LABEL, SELECTOR, TASK_LABEL
from ips_common.ports.cluster import DELETE_SECONDS, PROBE_SECONDS, READ_SECONDS, JobOutcome, Json, Refusals

T = TypeVar("T")

IN_FLIGHT = 48
"""Requests at a time for many Jobs; more only wait inside the API server, and keep others waiting there."""

_SPARE_CONNECTIONS = 16  # for reads and watches while Jobs are created


class KubernetesCluster:
    """One Kubernetes cluster."""

    def __init__(
        self,
        name: str,
        credentials: Credentials,
        namespace: str,
        *,
        in_flight: int = IN_FLIGHT,
        pace: Pace | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        """Make a cluster; nothing is contacted before the first call.

        Args:
            name: its name in the configuration.
            credentials: where it is and what to show it.
            namespace: where Jobs live.
            in_flight: Jobs that are created or deleted at a time.
            pace: how patient requests are.
            rhythm: when watches ask again.
        """
        self.name = name
        self._namespace = namespace
        self._rhythm = rhythm or Rhythm()
        self._transport = Transport(name, credentials, connections=in_flight + _SPARE_CONNECTIONS, pace=pace)
        self._jobs = Jobs(self._transport, namespace, in_flight=in_flight)
        self._daemonsets = Jobs(self._transport, namespace, in_flight=1, group="apps/v1", resource="daemonsets")
        self._image_volumes = ImageVolumes(self._transport, namespace)
        self._background: Background | None = None

    def nodes(
        self, selector: Mapping[str, str], images: Collection[str] | None = None, *, timeout: float = READ_SECONDS
    ) -> Sequence[Node]:
        """List the nodes that match every label, in order of their names."""

        async def read(deadline: float) -> list[Node]:
            reader = NodeReader(images)
            query = {"labelSelector": ",".join(f"{key}={value}" for key, value in selector.items())} if selector else {}
            return [
                reader.read(item)
                async for page in pages(self._transport, Call("list", "nodes", "/api/v1/nodes"), deadline, query)
                for item in page.items
            ]

        return sorted(self._run(read, timeout), key=lambda node: node.name)

    def node(self, name: str) -> Node | None:
        """Read one node; None if it does not exist."""

        async def read(deadline: float) -> Node | None:
            call = Call("get", "nodes", f"/api/v1/nodes/{name}", name)
            answer = await self._transport.send(call, deadline)
            if answer.status == 404:
                return None
            if not answer.ok:
                raise failure(self.name, call, answer)
            return NodeReader().read(answer.json())

        return self._run(read, READ_SECONDS)

    def create_jobs(self, jobs: Sequence[Json], timeout: float) -> Sequence[JobOutcome]:
        """Create Jobs, many at a time, within `timeout` seconds; one outcome each, in order."""
        return self._run(lambda deadline: self._jobs.create(jobs, deadline), timeout)

    def delete_jobs(
        self,
        task_id: str,
        *,
        batch: int | None = None,
        attempt: int | None = None,
        unfinished_only: bool = False,
        timeout: float = DELETE_SECONDS,
    ) -> None:
        """Delete a task's Jobs with their pods, or only those of one batch or attempt, or that did not succeed."""
        parts = [SELECTOR, f"{TASK_LABEL}={task_id}"]
        parts += [] if batch is None else [f"{BATCH_LABEL}={batch}"]
        parts += [] if attempt is None else [f"{ATTEMPT_LABEL}={attempt}"]
        selector = ",".join(parts)
        self._run(lambda deadline: self._jobs.delete(selector, deadline, unfinished_only=unfinished_only), timeout)

    def delete_named_jobs(self, names: Sequence[str]) -> None:
        """Delete Jobs by name with their pods; one that does not exist is fine."""
        self._run(lambda deadline: self._jobs.delete_named(names, deadline), DELETE_SECONDS)

    def create_daemonset(self, daemonset: Json, timeout: float) -> JobOutcome:
        """Create a DaemonSet within `timeout` seconds."""
        return self._run(lambda deadline: self._daemonsets.create([daemonset], deadline), timeout)[0]

    def delete_daemonsets(self, task_id: str, *, attempt: int | None = None, timeout: float = DELETE_SECONDS) -> None:
        """Delete a task's DaemonSets with their pods, or only that of one attempt."""
        selector = f"{SELECTOR},{TASK_LABEL}={task_id}"
        selector += "" if attempt is None else f",{ATTEMPT_LABEL}={attempt}"
        self._run(lambda deadline: self._daemonsets.delete(selector, deadline, unfinished_only=False), timeout)

    def has_daemonsets(self, task_id: str) -> bool:
        """Whether any DaemonSet of the task exists."""
        selector = f"{SELECTOR},{TASK_LABEL}={task_id}"
        return self._run(lambda deadline: self._daemonsets.any(selector, deadline), READ_SECONDS)

    def has_jobs(self, task_id: str) -> bool:
        """Whether any Job of the task exists."""
        return self._run(lambda deadline: self._jobs.any(f"{SELECTOR},{TASK_LABEL}={task_id}", deadline), READ_SECONDS)

    def refusals(self) -> Refusals:
        """Read from the namespace's Events which Jobs and DaemonSets got no pod because the API server refused it."""

        async def read(deadline: float) -> Refusals:
            call = Call(
                "list", f"events in namespace {self._namespace}", f"/api/v1/namespaces/{self._namespace}/events"
            )
            query = {"fieldSelector": "reason=FailedCreate"}
            found: dict[str, str] = {}
            try:
                async for page in pages(self._transport, call, deadline, query):
                    found.update(
                        (item["involvedObject"]["name"], item.get("message") or "")
                        for item in page.items
                        if item["involvedObject"].get("kind") in {"Job", "DaemonSet"}
                    )
            except ClusterRefused as error:
                if error.status != 403:
                    raise
                return Refusals(readable=False)
            return Refusals(found)

        return self._run(read, READ_SECONDS)

    def supports_image_volumes(self) -> bool:
        """Whether pods may have image volumes; asked of the API server now and then, else remembered."""
        return self._run(self._image_volumes.supported, PROBE_SECONDS)

    def watch(self, stop: Event, *, seconds: float) -> KubernetesWatch:
        """Observe all prewarm Jobs and their pods."""
        return KubernetesWatch(
            self._on(),
            lambda tell: Watcher(self._transport, self._namespace, tell, self._rhythm).run(),
            stop,
            seconds,
        )

    def ready(self, timeout: float) -> None:
        """Return when Jobs can be listed within `timeout` seconds, raise otherwise."""
        self._run(lambda deadline: self._jobs.any(SELECTOR, deadline), timeout)

    def close(self) -> None:
        """Close all connections; the cluster stays usable."""
        self._on().run(self._transport.close())

    def _run(self, work: Callable[[float], Coroutine[Any, Any, T]], seconds: float) -> T:
        """Do work on the background loop, with the loop's time by which it must be done."""

        async def timed() -> T:
            return await work(asyncio.get_running_loop().time() + seconds)

        return self._on().run(timed())

    def _on(self) -> Background:
        """Return the background loop; the first use sees to it that connections are closed when the process ends."""
        if self._background is None:
            self._background = background()
            self._background.at_exit(self._transport.close)
        return self._background
