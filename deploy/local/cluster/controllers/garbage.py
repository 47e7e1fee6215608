"""What becomes of an object's dependents when it is deleted: orphaned, deleted after it, or before it."""

from functools import partial
from typing import Any

from deploy.local.cluster.clock import Clock
from deploy.local.cluster.controllers.queue import WorkQueue
from deploy.local.cluster.kinds import DAEMONSETS, EVENTS, JOBS, PODS, Kind
from deploy.local.cluster.registry import FOREGROUND, ORPHAN, DeleteOptions, Registry
from deploy.local.cluster.store import Change, Item, Key

_OWNERS = (JOBS, DAEMONSETS, PODS)


class GarbageCollector:
    """Follows owner references."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._store = registry.store
        self._queues = {kind: WorkQueue(clock, partial(self._finalize, kind)) for kind in _OWNERS}
        self._gone = WorkQueue(clock, self._collect)
        for kind in _OWNERS:
            self._store.listen(kind, self._on_owner)
        self._store.listen(PODS, self._on_dependent)

    def _on_owner(self, change: Change) -> None:
        meta = change.item.obj["metadata"]
        if change.type == "DELETED":
            self._gone.add(("", meta["uid"]))
        elif {ORPHAN, FOREGROUND} & set(meta.get("finalizers", ())):
            self._queues[change.kind].add(change.item.key)

    def _on_dependent(self, change: Change) -> None:
        owners = change.item.obj["metadata"].get("ownerReferences") or ()
        if change.type == "ADDED":
            # A controller may create for an owner that has just gone.
            for owner in owners:
                if not self._exists(owner, change.item.key[0]):
                    self._gone.add(("", owner["uid"]))
        elif change.type == "DELETED":
            for owner in owners:
                for kind in (JOBS, DAEMONSETS):
                    key = (change.item.key[0], owner["name"])
                    if owner["kind"] == kind.kind and self._store.get(kind, key) is not None:
                        self._queues[kind].add(key)

    def _exists(self, owner: dict[str, Any], namespace: str) -> bool:
        for kind in _OWNERS:
            if kind.kind == owner["kind"]:
                item = self._store.get(kind, (namespace, owner["name"]))
                return item is not None and item.obj["metadata"]["uid"] == owner["uid"]
        return True

    def _finalize(self, kind: Kind, key: Key) -> None:
        item = self._store.get(kind, key)
        if item is None:
            return
        meta = item.obj["metadata"]
        finalizers = meta.get("finalizers", ())
        dependents = self._store.owned_by(meta["uid"])
        if ORPHAN in finalizers:
            for dependent, found in dependents:
                self._disown(dependent, found, meta["uid"])
            self._drop_finalizer(kind, key, ORPHAN)
        elif FOREGROUND in finalizers:
            for dependent, found in dependents:
                if "deletionTimestamp" not in found.obj["metadata"]:
                    self._delete(dependent, found)
            if not any(_blocks(found, meta["uid"]) for _, found in self._store.owned_by(meta["uid"])):
                self._drop_finalizer(kind, key, FOREGROUND)

    def _collect(self, key: Key) -> None:
        uid = key[1]
        for kind, item in self._store.owned_by(uid):
            owners = item.obj["metadata"]["ownerReferences"]
            if any(owner["uid"] != uid and self._exists(owner, item.key[0]) for owner in owners):
                self._disown(kind, item, uid)
            elif "deletionTimestamp" not in item.obj["metadata"]:
                self._delete(kind, item)

    def _delete(self, kind: Kind, item: Item) -> None:
        self._registry.delete(kind, item.key, DeleteOptions(policy="Background", uid=item.obj["metadata"]["uid"]))

    def _disown(self, kind: Kind, item: Item, uid: str) -> None:
        def without(obj: dict[str, Any]) -> dict[str, Any]:
            meta = dict(obj["metadata"])
            left = [owner for owner in meta.get("ownerReferences", ()) if owner["uid"] != uid]
            meta["ownerReferences"] = left
            if not left:
                del meta["ownerReferences"]
            return {**obj, "metadata": meta}

        self._registry.edit(kind, item.key, without)

    def _drop_finalizer(self, kind: Kind, key: Key, finalizer: str) -> None:
        """Let the object go; watchers see it deleted with the finalizer still named, as on a real server."""
        item = self._store.get(kind, key)
        if item is None:
            return
        finalizers = item.obj["metadata"]["finalizers"]
        if finalizers == [finalizer]:
            self._store.remove(kind, key)
            return
        left = [one for one in finalizers if one != finalizer]
        self._registry.edit(kind, key, lambda obj: {**obj, "metadata": {**obj["metadata"], "finalizers": left}})


def _blocks(item: Item, uid: str) -> bool:
    owners = item.obj["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)


class NamespaceController:
    """Empties namespaces that are being deleted, then lets them go."""

    def __init__(self, registry: Registry, clock: Clock, kinds: tuple[Kind, ...], own: Kind) -> None:
        self._registry = registry
        self._store = registry.store
        self._kinds = tuple(kind for kind in kinds if kind.namespaced and kind is not EVENTS)
        self._own = own
        self._queue = WorkQueue(clock, self._empty)
        self._store.listen(own, self._on_namespace)

    def _on_namespace(self, change: Change) -> None:
        if change.type == "MODIFIED" and "deletionTimestamp" in change.item.obj["metadata"]:
            self._queue.add(change.item.key)

    def _empty(self, key: Key) -> None:
        namespace = key[1]
        left = 0
        for kind in self._kinds:
            for item in list(self._store.scan(kind, namespace)):
                if "deletionTimestamp" not in item.obj["metadata"]:
                    self._registry.delete(kind, item.key, DeleteOptions(policy="Background"))
            left += self._store.count(kind, namespace)
        if left:
            self._queue.add_after(key, 1.0)
            return
        for item in list(self._store.scan(EVENTS, namespace)):
            self._store.remove(EVENTS, item.key)
        self._store.remove(self._own, key)
