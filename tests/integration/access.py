"""The service and the cluster as users reach them: HTTP, and the official Kubernetes client."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes import watch as untyped_watch

from deploy.local.cluster.running import RunningCluster
from deploy.local.stack import Stack

T = TypeVar("T")

NAMESPACE = "ips"
watch: Any = untyped_watch  # the library has no types


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with its body parsed."""

    status: int
    headers: dict[str, str]
    body: Any


def request(url: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None) -> Answer:
    """Send a request; an error status is an answer like any other."""
    data = None if body is None else json.dumps(body).encode()
    sent = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(sent, timeout=30) as got:
            return Answer(got.status, dict(got.headers), json.loads(got.read() or b"null"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), json.loads(error.read() or b"null"))


def until(look: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """Wait until `look` finds something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return found


class Tasks:
    """The API's tasks."""

    def __init__(self, stack: Stack) -> None:
        self._url = f"{stack.api_url}/api/v1/tasks"

    def create(self, *images: str, **fields: object) -> Any:
        answer = request(self._url, "POST", {"images": list(images), **fields})
        assert answer.status == 201, answer
        return answer.body

    def get(self, task_id: str) -> Any:
        return request(f"{self._url}/{task_id}").body

    def nodes(self, task_id: str) -> Any:
        return request(f"{self._url}/{task_id}/nodes?limit=100").body["nodes"]

    def cancel(self, task_id: str) -> Answer:
        return request(f"{self._url}/{task_id}", "DELETE")

    def finished(self, task_id: str, seconds: float = 90) -> Any:
        def look() -> Any:
            task = self.get(task_id)
            return task if task["status"] in {"completed", "failed", "cancelled"} else None

        return until(look, f"task {task_id} ends", seconds)


class Kube:
    """The cluster, as an administrator sees it."""

    def __init__(self, where: Stack | RunningCluster) -> None:
        untyped: Any = config
        api = untyped.new_client_from_config(str(where.kubeconfig))
        self.batch: Any = client.BatchV1Api(api)
        self.core: Any = client.CoreV1Api(api)

    def jobs(self, task_id: str) -> Any:
        return self.batch.list_namespaced_job(NAMESPACE, label_selector=f"task-id={task_id}").items

    def pods(self, task_id: str) -> Any:
        return self.core.list_namespaced_pod(NAMESPACE, label_selector=f"task-id={task_id}").items


@dataclass
class Arrivals:
    """When Jobs were first seen and pods were first seen ended, by batch, as a watch beside the product sees them."""

    jobs: dict[int, list[float]] = field(default_factory=dict)
    ends: dict[int, list[float]] = field(default_factory=dict)


def record(kube: Kube, task_id: str, seconds: int) -> tuple[Arrivals, list[Thread]]:
    """Watch a task's Jobs and pods for some seconds; join the threads before reading the arrivals."""
    arrivals = Arrivals()
    selector = {"label_selector": f"task-id={task_id}", "timeout_seconds": seconds}

    def follow(call: Any, take: Callable[[Any, dict[str, float]], None]) -> None:
        seen: dict[str, float] = {}
        watcher = watch.Watch()
        for event in watcher.stream(call, NAMESPACE, **selector):
            take(event["object"], seen)

    def job(obj: Any, seen: dict[str, float]) -> None:
        if obj.metadata.name not in seen:
            seen[obj.metadata.name] = time.monotonic()
            arrivals.jobs.setdefault(int(obj.metadata.labels["batch"]), []).append(time.monotonic())

    def pod(obj: Any, seen: dict[str, float]) -> None:
        if obj.status.phase == "Succeeded" and obj.metadata.name not in seen:
            seen[obj.metadata.name] = time.monotonic()
            arrivals.ends.setdefault(int(obj.metadata.labels["batch"]), []).append(time.monotonic())

    threads = [
        Thread(target=follow, args=(kube.batch.list_namespaced_job, job), daemon=True),
        Thread(target=follow, args=(kube.core.list_namespaced_pod, pod), daemon=True),
    ]
    for thread in threads:
        thread.start()
    return arrivals, threads
