"""What a node holds and what it is pulling: one pipe of a fixed width, shared by the pulls under way."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.cluster.clock import Clock, Timer
from deploy.local.cluster.kubelet.images import MIB, Image, canonical, flaky_error, no_space_error, repository_of
from deploy.local.cluster.scenario import KubeletSettings

# Done with an error text or None, the seconds of the pull itself and those with the wait before it.
Done = Callable[[str | None, float, float], None]


@dataclass(slots=True, eq=False)
class _Pull:
    image: Image
    asked: float
    waiters: list[Done]
    started: float = 0.0
    # Seconds of a pull with a fixed duration, else bytes.
    left: float = 0.0
    timed: bool = False


@dataclass(slots=True)
class Pipe:
    """One node's images and pulls."""

    clock: Clock
    settings: KubeletSettings
    bandwidth_mib: float | None = None
    free_bytes: float | None = None
    hung: bool = False
    # By whole name, with tag and with digest.
    _present: dict[str, Image] = field(default_factory=dict)
    _queue: deque[_Pull] = field(default_factory=deque)
    _active: list[_Pull] = field(default_factory=list)
    _failures: dict[str, int] = field(default_factory=dict)
    _moved: float = 0.0
    _timer: Timer | None = None

    def holds(self, reference: str) -> bool:
        """Whether an image is there, under this name or by this digest."""
        return canonical(reference) in self._present

    def add(self, image: Image) -> None:
        """Have an image."""
        self._present[image.name] = self._present[f"{repository_of(image.name)}@{image.digest}"] = image

    def images(self) -> set[Image]:
        """What is there."""
        return set(self._present.values())

    def pull(self, image: Image, done: Done) -> None:
        """Pull, or join the pull of the same image that is under way."""
        for pull in (*self._active, *self._queue):
            if pull.image.name == image.name:
                pull.waiters.append(done)
                return
        self._queue.append(_Pull(image, self.clock.now(), [done]))
        self._advance()

    def forget(self, done: Done) -> None:
        """The pod that waited is gone; a pull nobody waits for is given up."""
        for pull in (*self._active, *self._queue):
            if done in pull.waiters:
                pull.waiters.remove(done)
        self._active = [pull for pull in self._active if pull.waiters]
        self._queue = deque(pull for pull in self._queue if pull.waiters)
        self._advance()

    def reset(self) -> None:
        """Lose everything, as a node that is replaced does."""
        self._present.clear()
        self._queue.clear()
        self._active.clear()
        self._failures.clear()

    def changed(self) -> None:
        """Bandwidth or being stuck has changed."""
        self._advance()

    def _advance(self) -> None:
        """Account for the time since the last look, start what may start and wait for the next end."""
        now = self.clock.now()
        passed, self._moved = now - self._moved, now
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.hung:
            return
        ended: list[_Pull] = []
        rate = self._rate()
        for pull in self._active:
            pull.left -= passed if pull.timed else passed * rate
            if pull.left <= 1e-6:
                ended.append(pull)
        for pull in ended:
            self._active.remove(pull)
        while self._queue and len(self._active) < self.settings.parallel_pulls:
            self._start(self._queue.popleft(), now)
        if self._active:
            rate = self._rate()
            soonest = min(pull.left if pull.timed else pull.left / rate for pull in self._active)
            self._timer = self.clock.after(max(soonest, 0.001), self._advance)
        for pull in ended:
            self._end(pull, now)

    def _rate(self) -> float:
        mib = self.bandwidth_mib or self.settings.bandwidth_mib
        return mib * MIB / max(sum(not pull.timed for pull in self._active), 1)

    def _start(self, pull: _Pull, now: float) -> None:
        pull.started = now
        image = pull.image
        here = self._present.get(image.name)
        if image.error is not None or (here is not None and here.digest == image.digest):
            # A refusal, or only asking whether a tag has moved.
            pull.timed, pull.left = True, self.settings.pull_latency_seconds
        elif image.seconds is not None:
            pull.timed, pull.left = True, image.seconds
        else:
            mib = self.bandwidth_mib or self.settings.bandwidth_mib
            pull.left = image.size + self.settings.pull_latency_seconds * mib * MIB
        self._active.append(pull)

    def _end(self, pull: _Pull, now: float) -> None:
        error = self._outcome(pull.image)
        if error is None:
            self.add(pull.image)
        for done in tuple(pull.waiters):
            done(error, now - pull.started, now - pull.asked)

    def _outcome(self, image: Image) -> str | None:
        failures = self._failures.get(image.name, 0)
        if failures < image.fails:
            self._failures[image.name] = failures + 1
            return flaky_error(image)
        if image.error is not None:
            return image.error
        if self.free_bytes is not None and image.name not in self._present:
            if image.size > self.free_bytes:
                return no_space_error(image)
            self.free_bytes -= image.size
        return None
