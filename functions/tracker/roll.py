"""Which pods of a DaemonSet there are, and how its controller gets on with making them."""

from datetime import datetime

from ips_common.observe import Gone, PodSeen


class Roll:
    """What is known of one attempt's DaemonSet from its pods, those of settled nodes included."""

    def __init__(self) -> None:
        self.look_at: datetime | None = None
        """When nodes without a pod are to be looked into; None for as soon as there is reason to."""
        self.progress_at: datetime | None = None
        """When a node got its first pod for the last time; a controller makes some tens of pods a second at most."""
        self._pods: set[str] = set()
        self._nodes: set[str] = set()

    @property
    def exists(self) -> bool:
        """Whether the DaemonSet is there for certain: it has pods."""
        return bool(self._pods)

    def see(self, observation: PodSeen | Gone, now: datetime) -> None:
        """Take in what became of a pod."""
        if isinstance(observation, Gone):
            self._pods.discard(observation.name)
            return
        self._pods.add(observation.name)
        if observation.key.node not in self._nodes:
            self._nodes.add(observation.key.node)
            self.progress_at = now
