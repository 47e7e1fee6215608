"""Keeps the status of ResourceQuotas: what is allowed and what is used."""

from typing import Any

from deploy.local.cluster.clock import Clock
from deploy.local.cluster.controllers.queue import WorkQueue
from deploy.local.cluster.kinds import EVENTS, RESOURCEQUOTAS, Kind
from deploy.local.cluster.registry import Registry
from deploy.local.cluster.store import Change, Key

_BATCH_SECONDS = 1.0


class QuotaController:
    """Counts objects for every quota; admission counts for itself."""

    def __init__(self, registry: Registry, clock: Clock, kinds: tuple[Kind, ...]) -> None:
        self._registry = registry
        self._store = registry.store
        self._kinds = {f"count/{kind.qualified}": kind for kind in kinds if kind.namespaced}
        self._kinds["pods"] = self._kinds["count/pods"]
        self._queue = WorkQueue(clock, self._count)
        self._store.listen(RESOURCEQUOTAS, self._on_quota)
        for kind in kinds:
            if kind.namespaced and kind not in {RESOURCEQUOTAS, EVENTS}:
                self._store.listen(kind, self._on_object)

    def _on_quota(self, change: Change) -> None:
        if change.type != "DELETED":
            self._queue.add(change.item.key)

    def _on_object(self, change: Change) -> None:
        if change.type != "MODIFIED" and self._store.count(RESOURCEQUOTAS):
            for item in self._store.scan(RESOURCEQUOTAS, change.item.key[0]):
                self._queue.add_after(item.key, _BATCH_SECONDS)

    def _count(self, key: Key) -> None:
        def counted(quota: dict[str, Any]) -> dict[str, Any]:
            hard = (quota.get("spec") or {}).get("hard") or {}
            used = {name: str(self._store.count(self._kinds[name], key[0])) for name in hard if name in self._kinds}
            return {**quota, "status": {"hard": hard, "used": used}}

        self._registry.edit(RESOURCEQUOTAS, key, counted)
