"""How a kubelet gets a pod the images it needs: EnsureImageExists, with its back-off for each image of the pod."""

from collections.abc import Callable, Generator
from typing import Any, Protocol

from deploy.local.cluster.clock import Clock
from deploy.local.cluster.kubelet.images import Image, Registry, is_valid
from deploy.local.cluster.kubelet.pulling import Pipe
from deploy.local.cluster.scenario import KubeletSettings

BACKOFF_FIRST, BACKOFF_MOST = 10.0, 300.0

# What SyncPod waits for: a function that starts something and is given the call that ends the wait.
Wait = Callable[[Callable[[Any], None]], None]
# The reason and message of a container that cannot be started.
Refusal = tuple[str, str]


class Node(Protocol):
    """What getting images needs of a node."""

    clock: Clock
    settings: KubeletSettings
    registry: Registry
    pipe: Pipe


class Say(Protocol):
    """Records an Event about the pod, or about the part of it that `path` names."""

    def __call__(self, reason: str, message: str, *, warning: bool = False, path: str = "") -> None:
        """Record it."""


class PodImages:
    """One pod's images."""

    __slots__ = ("_backoff", "_cancel", "_node", "_say")

    def __init__(self, node: Node, say: Say) -> None:
        self._node = node
        self._say = say
        # Of each image that could not be pulled: the delay, when it is over, and what went wrong.
        self._backoff: dict[str, tuple[float, float, str]] = {}
        self._cancel: Callable[[], None] | None = None

    def ensure(self, reference: str, policy: str, path: str) -> Generator[Wait, Any, Refusal | None]:
        """Wait until the image is there: None, or why it is not."""
        if not is_valid(reference):
            message = f'couldn\'t parse image name "{reference}": invalid reference format'
            said = f'Failed to apply default image tag "{reference}": {message}'
            self._say("InspectFailed", said, path=path, warning=True)
            return "InvalidImageName", said
        if self._node.pipe.holds(reference) and policy != "Always":
            said = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            self._say("Pulled", said, path=path)
            return None
        if policy == "Never":
            said = f'Container image "{reference}" is not present with pull policy of Never'
            self._say("ErrImageNeverPull", said, path=path, warning=True)
            return "ErrImageNeverPull", said
        _, until, error = self._backoff.get(reference, (0.0, 0.0, ""))
        if self._node.clock.now() < until:
            said = f'Back-off pulling image "{reference}"'
            self._say("BackOff", said, path=path)
            return "ImagePullBackOff", f"{said}: ErrImagePull: {error}"
        self._say("Pulling", f'Pulling image "{reference}"', path=path)
        image = self._node.registry.image(reference)
        failure, pulling, waited = yield self._pull(image)
        if failure is not None:
            self._back_off(reference, failure)
            self._say("Failed", f'Failed to pull image "{reference}": {failure}', path=path, warning=True)
            return "ErrImagePull", failure
        self._backoff.pop(reference, None)
        took = f"in {go_duration(pulling)} ({go_duration(waited)} including waiting)"
        said = f'Successfully pulled image "{reference}" {took}. Image size: {image.size} bytes.'
        self._say("Pulled", said, path=path)
        return None

    def next_try(self) -> float | None:
        """Seconds until an image may be tried again; None if none waits for that."""
        now = self._node.clock.now()
        return min((until - now for _, until, _ in self._backoff.values() if until > now), default=None)

    def give_up(self) -> None:
        """Stop waiting for a pull."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def _back_off(self, reference: str, failure: str) -> None:
        scale = self._node.settings.backoff_scale
        before = self._backoff.get(reference, (0.0, 0.0, ""))[0]
        delay = min(before * 2, BACKOFF_MOST * scale) or BACKOFF_FIRST * scale
        self._backoff[reference] = (delay, self._node.clock.now() + delay, failure)

    def _pull(self, image: Image) -> Wait:
        def begin(resume: Callable[[Any], None]) -> None:
            def done(error: str | None, pulling: float, waited: float) -> None:
                self._cancel = None
                resume((error, pulling, waited))

            self._cancel = lambda: self._node.pipe.forget(done)
            self._node.pipe.pull(image, done)

        return begin


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond."""
    millis = round(seconds * 1000)
    if millis < 1000:
        return f"{millis}ms" if millis else "0s"
    minutes, rest = divmod(millis, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{text}" if minutes else text
