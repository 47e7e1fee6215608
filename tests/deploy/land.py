"""The functions on one simulated cluster, each with the account and the rights that a deployment gives it.

The code is the functions' own; store and bus are in memory, and messages are handed over by the test.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, TypeVar, cast

from flask.testing import FlaskClient

from deploy.local.cluster.running import RunningCluster
from functions.api.app import create_app
from functions.api.bounded import BoundedClusters
from functions.api.deps import Deps as ApiDeps
from functions.batch.handler import JobSettings, create_batch
from functions.release.deps import Deps as ReleaseDeps
from functions.release.handler import handle
from functions.tracker.ports import Pace, Ports
from functions.tracker.run import ClusterRun
from ips_common.bus.envelope import RawDelivery
from ips_common.bus.memory import MemoryBus
from ips_common.cluster.credentials import KubeconfigCredentials
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.manifests import job
from ips_common.models.message import BatchMessage
from ips_common.models.task import Task, TaskSpec
from ips_common.naming import new_task_id
from ips_common.ports.cluster import Cluster, Json
from ips_common.store.memory import MemoryStore
from ips_common.verdict import Patience
from tests.deploy.deployed import CALLERS, NAMESPACE

T = TypeVar("T")

JOBS = JobSettings(
    namespace=NAMESPACE,
    worker_image="mirror.gcr.io/library/busybox:1.37.0-musl",
    worker_pull_policy="IfNotPresent",
    ttl_seconds=600,
    priority_class="ips-prewarm",
)
_SHORT = timedelta(seconds=0.5)
_PACE = Pace(
    reload=timedelta(seconds=0.5),
    linger=timedelta(),
    patience=Patience(pull=_SHORT, schedule=_SHORT, ending=_SHORT, look=timedelta(seconds=0.1)),
)
_PULL = {"images": ["registry.example/app:1"], "skipPresent": False}
_LONG_AGO = timedelta(minutes=1)
_PATIENCE_SECONDS = 30.0


def until(look: Callable[[], T | None], what: str) -> T:
    """Wait until `look` finds something."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


class _Noted:
    """A cluster that notes what is asked of it."""

    def __init__(self, cluster: Cluster, asked: set[str]) -> None:
        self._cluster = cluster
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        self._asked.add(name)
        return getattr(self._cluster, name)


class _One:
    """One cluster, seen with one function's account."""

    def __init__(self, kubeconfig: str, account: str) -> None:
        self.real = KubernetesCluster("default", KubeconfigCredentials(kubeconfig, account), NAMESPACE)
        self.asked: set[str] = set()
        self._noted = cast(Cluster, _Noted(self.real, self.asked))

    def names(self) -> Sequence[str]:
        """See `Clusters.names`."""
        return ["default"]

    def get(self, name: str) -> Cluster:
        """See `Clusters.get`."""
        del name
        return self._noted


class _NoReleases:
    def images(self, name: str) -> Sequence[str]:
        """See `Releases.images`."""
        raise AssertionError(name)


class Land:
    """Everything that a test of rights needs."""

    def __init__(self, running: RunningCluster) -> None:
        self.running = running
        self.store = MemoryStore()
        self.bus = MemoryBus()
        self._of = {name: _One(str(running.kubeconfig), name) for name in CALLERS}
        deps = ApiDeps(store=self.store, bus=self.bus, clusters=BoundedClusters(self._of["api"]), max_pending_tasks=100)
        self.api: FlaskClient = create_app(deps).test_client()

    def asked(self, function: str) -> frozenset[str]:
        """Which of the port's methods a function has called."""
        return frozenset(self._of[function].asked)

    def create(self, **fields: object) -> str:
        """Have `api` make a task; returns its id."""
        answer = self.api.post("/api/v1/tasks", json={**_PULL, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json["taskId"]) if answer.json else ""

    def cancel(self, task_id: str) -> None:
        """Have `api` cancel a task."""
        assert self.api.delete(f"/api/v1/tasks/{task_id}").status_code == 200

    def wait_for_tracker(self, **fields: object) -> str:
        """Leave a task that nobody has started; returns its id."""
        now = datetime.now(UTC) - _LONG_AGO
        spec = TaskSpec.model_validate({**_PULL, **fields})
        task = Task(task_id=new_task_id(now, "0" * 8), spec=spec, created_at=now)
        self.store.create_task(task)
        return task.task_id

    def release(self, request: Mapping[str, object]) -> None:
        """Have `release` handle a task request that came as a message."""
        deps = ReleaseDeps(
            store=self.store,
            bus=self.bus,
            clusters=self._of["release"],
            releases=_NoReleases(),
            rules=(),
            max_pending_tasks=100,
        )
        data = json.dumps(request).encode()
        assert handle(RawDelivery(topic="ips-releases", data=data, attributes={}, message_id="1"), deps)

    def messages(self) -> list[BatchMessage]:
        """Take the batch messages that have been published."""
        return [message for message in self.bus.take() if isinstance(message, BatchMessage)]

    def job(self, task_id: str, batch: int, image: str) -> Json:
        """Return a Job of a task, for another image than the task's."""
        task = self.store.task(task_id).task
        spec = task.spec.model_copy(update={"images": (image,)})
        return job(
            task.model_copy(update={"spec": spec}),
            batch,
            "node-00000",
            namespace=NAMESPACE,
            worker_image=JOBS.worker_image,
            worker_pull_policy=JOBS.worker_pull_policy,
            ttl_seconds=JOBS.ttl_seconds,
            request_id=None,
        )

    def batch(self, message: BatchMessage, settings: JobSettings = JOBS) -> None:
        """Have `batch` handle a message."""
        create_batch(
            message,
            store=self.store,
            bus=self.bus,
            clusters=self._of["batch"],
            settings=settings,
            seconds_left=lambda: 20.0,
        )

    def track(self) -> None:
        """Have `tracker` work until nothing is left to do, and messages delivered meanwhile."""
        ports = Ports(self.store, self.bus, self._of["tracker"], lambda: datetime.now(UTC))
        run = ClusterRun("default", ports, _PACE, Event())
        until_then = datetime.now(UTC) + timedelta(seconds=_PATIENCE_SECONDS)
        with ThreadPoolExecutor(1) as pool:
            tracking = pool.submit(run.track, until_then)
            while not tracking.done():
                for message in self.bus.take():
                    if isinstance(message, BatchMessage):
                        self.batch(message)
                    else:
                        run.wake(message.task_id)
                wait([tracking], timeout=0.02)
        assert not tracking.result(), "the tracker did not come to an end"

    def close(self) -> None:
        """Close all connections."""
        for one in self._of.values():
            one.real.close()
