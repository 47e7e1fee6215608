"""What a kubelet does with one pod, from binding to its end.

`_sync_pod` reads like the kubelet's own SyncPod: image volumes first, then init containers one after the other, then
the regular containers, each waiting for its image before the next is looked at.
"""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

from deploy.local.cluster.clock import Timer, stamp
from deploy.local.cluster.kubelet.pod_images import (
    BACKOFF_FIRST,
    BACKOFF_MOST,
    Node,
    PodImages,
    Refusal,
    Wait,
    go_duration,
)
from deploy.local.cluster.kubelet.status import Container, phase, pod_status, running, terminated, waiting
from deploy.local.cluster.pods import ENDED

# The kubelet notices what its runtime did at its next relist, a second later at most.
RELIST_SECONDS = 1.0
_KILLED = 137


class Host(Node, Protocol):
    """What a worker needs of its kubelet."""

    def report(self, worker: "PodWorker", status: dict[str, Any]) -> None:
        """Write the pod's status to the API server."""

    def say(self, worker: "PodWorker", reason: str, message: str, *, warning: bool = False, path: str = "") -> None:
        """Record an Event about the pod."""


Flow = Generator[Wait, Any, Any]


class PodWorker:
    """One pod on one node."""

    __slots__ = (
        "_flow",
        "_host",
        "_images",
        "_refused",
        "_reported",
        "_resync",
        "_write",
        "ended",
        "init",
        "last_status",
        "pod",
        "regular",
        "restarts",
        "volumes",
    )

    def __init__(self, host: Host, pod: dict[str, Any]) -> None:
        self._host = host
        self.pod = pod
        spec = pod["spec"]
        self.volumes = [
            (volume["name"], volume["image"]["reference"], volume["image"].get("pullPolicy", "IfNotPresent"))
            for volume in spec.get("volumes") or ()
            if volume.get("image", {}).get("reference")
        ]
        start = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        self.init = [_container(one, start) for one in spec.get("initContainers") or ()]
        self.regular = [_container(one, start) for one in spec["containers"]]
        policy = spec.get("restartPolicy", "Always")
        self.restarts = host.settings.restarts and policy != "Never"
        self.ended = False
        self.last_status = pod["status"]
        self._flow: Flow | None = None
        self._images = PodImages(host, partial(host.say, self))
        self._resync: Timer | None = None
        self._write: Timer | None = None
        self._reported = 0.0
        self._refused: dict[str, Refusal] = {}

    def start(self) -> None:
        """Begin: report that the pod was seen, then work."""
        self._report(at_once=True)
        self.sync()

    def kill(self) -> None:
        """Stop everything: the pod is being deleted."""
        self._stop()
        now = self._now()
        for container in (*self.init, *self.regular):
            if container.running:
                started = container.state["running"]["startedAt"]
                container.state = terminated(_KILLED, started, now)
        self.ended = True
        status = pod_status(self.last_status, self.init, self.regular, now=now, phase_now="Failed")
        self._host.report(self, status)

    def abandon(self) -> None:
        """Stop everything without a word: the node is gone."""
        self._stop()
        self.ended = True

    def sync(self) -> None:
        """One pass over the pod, unless one is under way."""
        self._resync = None
        if self._flow is None and not self.ended:
            self._flow = self._sync_pod()
            self._step(None)

    def _step(self, value: Any) -> None:
        flow = self._flow
        if flow is None:
            return
        try:
            wait = flow.send(value)
        except StopIteration:
            self._flow = None
            self._settle()
        else:
            wait(self._step)

    def _sync_pod(self) -> Flow:
        self._refused.clear()
        for name, reference, policy in self.volumes:
            refusal = yield from self._images.ensure(reference, policy, "")
            if refusal is not None:
                self._refused[name] = refusal
        for container in self.init:
            if container.exit_code == 0:
                continue
            if not (yield from self._start(container)):
                return
            while container.running:
                yield self._until_end(container)
            if container.exit_code != 0:
                return
        for container in self.regular:
            if container.pending and not container.crashed:
                yield from self._start(container)

    def _start(self, container: Container) -> Generator[Wait, Any, bool]:
        path = f"spec.containers{{{container.name}}}"
        if container in self.init:
            path = f"spec.initContainers{{{container.name}}}"
        # A volume whose image is missing is told of each container that mounts it; the last one's reason shows.
        refusals = [self._refused[mount] for mount in container.mounts if mount in self._refused]
        refusal = (
            refusals[-1] if refusals else (yield from self._images.ensure(container.image, container.policy, path))
        )
        if refusal is not None:
            self._say("Failed", f"Error: {refusal[0]}", path, warning=True)
            container.state = waiting(*refusal)
            self._report()
            return False
        image = self._host.registry.image(container.image)
        container.image_id = image.image_id
        self._say("Created", "Container created", path)
        self._say("Started", "Container started", path)
        now = self._now()
        if image.runs == 0:
            container.state = terminated(image.exit_code, now, now)
            self._after_end(container)
        else:
            container.state = running(now)
            if image.runs != "forever":
                self._host.clock.after(image.runs, self._end, container, image.exit_code)
        self._report()
        return True

    def _until_end(self, container: Container) -> Wait:
        def begin(resume: Callable[[Any], None]) -> None:
            runs = self._host.registry.image(container.image).runs
            # An init container that never ends blocks its pod for ever.
            if runs != "forever":
                self._host.clock.after(runs, resume, None)

        return begin

    def _end(self, container: Container, exit_code: int) -> None:
        if self.ended or not container.running:
            return
        container.state = terminated(exit_code, container.state["running"]["startedAt"], self._now())
        self._after_end(container)
        if self._flow is None:
            self._settle()
        else:
            self._report()

    def _after_end(self, container: Container) -> None:
        """Restart a container that ended, after its back-off, where the pod's policy says so."""
        policy = self.pod["spec"].get("restartPolicy")
        again = container.exit_code != 0 or (policy == "Always" and container not in self.init)
        if not self.restarts or not again:
            return
        scale = self._host.settings.backoff_scale
        delay = min(BACKOFF_FIRST * 2**container.restarts, BACKOFF_MOST) * scale
        container.last_state = container.state
        meta = self.pod["metadata"]
        said = f"back-off {go_duration(delay)} restarting failed container={container.name} "
        said += f"pod={meta['name']}_{meta['namespace']}({meta['uid']})"
        container.state = waiting("CrashLoopBackOff", said)
        container.restarts += 1
        self._host.clock.after(delay, self._restart, container)

    def _restart(self, container: Container) -> None:
        if not self.ended and container.pending:
            container.state = waiting("ContainerCreating")
            self.sync()

    def _settle(self) -> None:
        """A pass is over: report, and plan the next one while images are missing."""
        now_phase = phase(self.init, self.regular, restarts=self.restarts)
        if now_phase in ENDED:
            self._report(at_once=True)
            self._stop()
            self.ended = True
            return
        self._report()
        left = self._images.next_try()
        if left is not None:
            erred = any(one.waiting_for == "ErrImagePull" for one in (*self.init, *self.regular))
            soon = min(RELIST_SECONDS, left) if erred else left
            if self._resync is not None:
                self._resync.cancel()
            self._resync = self._host.clock.after(soon + 0.001, self.sync)

    def _stop(self) -> None:
        self._images.give_up()
        for timer in (self._resync, self._write):
            if timer is not None:
                timer.cancel()
        self._resync = self._write = None
        self._flow = None

    def _report(self, *, at_once: bool = False) -> None:
        """Write the status, now or together with what else happens within the kubelet's status period."""
        now = self._host.clock.now()
        due = self._reported + self._host.settings.status_seconds
        if at_once or now >= due:
            self._flush()
        elif self._write is None:
            self._write = self._host.clock.after(due - now, self._flush)

    def _flush(self) -> None:
        if self._write is not None:
            self._write.cancel()
            self._write = None
        now_phase = phase(self.init, self.regular, restarts=self.restarts)
        status = pod_status(self.last_status, self.init, self.regular, now=self._now(), phase_now=now_phase)
        if status != self.last_status:
            self.last_status = status
            self._host.report(self, status)
        self._reported = self._host.clock.now()

    def _say(self, reason: str, message: str, path: str, *, warning: bool = False) -> None:
        self._host.say(self, reason, message, warning=warning, path=path)

    def _now(self) -> str:
        return stamp(self._host.clock.now())


def _container(spec: dict[str, Any], start: str) -> Container:
    mounts = tuple(mount["name"] for mount in spec.get("volumeMounts") or ())
    return Container(spec["name"], spec["image"], spec["imagePullPolicy"], mounts, waiting(start))
