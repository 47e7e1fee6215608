"""What the control plane does about nodes that are gone: their pods are failed and deleted after a while."""

from typing import Any

from deploy.local.cluster.clock import Clock, stamp
from deploy.local.cluster.controllers.queue import WorkQueue
from deploy.local.cluster.kinds import NODES, PODS
from deploy.local.cluster.pods import has_ended
from deploy.local.cluster.registry import DeleteOptions, Registry
from deploy.local.cluster.store import Change, Key

# The real collector runs every 20 s and leaves a missing node 40 s to come back.
QUARANTINE_SECONDS = 40.0


class PodCollector:
    """Deletes pods whose node no longer exists."""

    def __init__(self, registry: Registry, clock: Clock, quarantine_seconds: float = QUARANTINE_SECONDS) -> None:
        self._registry = registry
        self._store = registry.store
        self._clock = clock
        self.quarantine_seconds = quarantine_seconds
        self._queue = WorkQueue(clock, self._collect)
        self._store.listen(NODES, self._on_node)

    def _on_node(self, change: Change) -> None:
        if change.type == "DELETED":
            self._queue.add_after(change.item.key, self.quarantine_seconds)

    def _collect(self, key: Key) -> None:
        if self._store.get(NODES, key) is not None:
            return
        for item in list(self._store.scan(PODS)):
            if item.obj["spec"].get("nodeName") == key[1]:
                self._registry.edit(PODS, item.key, self._fail)
                self._registry.delete(PODS, item.key, DeleteOptions(grace_seconds=0))

    def _fail(self, pod: dict[str, Any]) -> dict[str, Any]:
        if has_ended(pod):
            return pod
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": stamp(self._clock.now()),
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
        }
        conditions = [*(pod["status"].get("conditions") or ()), condition]
        return {**pod, "status": {**pod["status"], "phase": "Failed", "conditions": conditions}}
