"""The rules by which objects come, change and go, the same for clients and controllers."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.local.cluster import defaults, errors, limits, validation
from deploy.local.cluster.admission import Admission
from deploy.local.cluster.clock import Clock, stamp
from deploy.local.cluster.kinds import DAEMONSETS, JOBS, NAMESPACES, PODS, Kind
from deploy.local.cluster.pods import has_ended
from deploy.local.cluster.store import Item, Key, Store

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_COUNTED_GENERATIONS = (JOBS, DAEMONSETS, PODS)
_KEPT_METADATA = ("name", "namespace", "uid", "creationTimestamp", "generateName", "deletionTimestamp")
_UNDELETABLE = ("default", "kube-system")
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_POLICY_FINALIZER = {"Orphan": ORPHAN, "Foreground": FOREGROUND}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete; seconds of grace only matter to pods."""

    policy: str | None = None
    grace_seconds: int | None = None
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


class Registry:
    """Create, update and delete, with everything a real API server does around the store."""

    def __init__(self, store: Store, clock: Clock, rng: random.Random) -> None:
        self.store = store
        self._clock = clock
        self._rng = rng
        self._admission = Admission(store)

    def key(self, kind: Kind, namespace: str, name: str) -> Key:
        """Where an object is stored."""
        return (namespace if kind.namespaced else "", name)

    def new_uid(self) -> str:
        """A random UUID, from the seeded source so that a run can be repeated."""
        text = f"{self._rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def generate_name(self, prefix: str) -> str:
        """A name that starts with (what fits of) `prefix`."""
        return prefix[:58] + "".join(self._rng.choices(_SUFFIX_LETTERS, k=5))

    def create(
        self, kind: Kind, namespace: str, obj: dict[str, Any], *, dry_run: bool = False, of_template: bool = False
    ) -> tuple[Item, list[str]]:
        """Create an object.

        Args:
            kind: What it is.
            namespace: Where it goes; ignored for kinds without.
            obj: What was asked for, without unknown fields.
            dry_run: Check and answer, but store nothing.
            of_template: A controller's pod, whose spec has been checked and filled in as a template.

        Raises:
            ApiError: it may not be.
        """
        obj = self._start(kind, namespace, obj)
        name = obj["metadata"]["name"]
        if kind.namespaced:
            self._admission.namespace(kind, namespace, name)
        if of_template:
            spec = defaults.pod_spec_of_template(obj["spec"])
            obj = {**obj, "spec": spec, "status": defaults.pod_status(spec)}
        else:
            obj = defaults.apply(kind, obj)
            if causes := validation.validate(kind, obj):
                raise errors.invalid(kind, name, causes)
        warnings = self._admission.admit(kind, namespace, obj)
        key = self.key(kind, namespace, name)
        if self.store.get(kind, key) is not None:
            raise errors.already_exists(kind, name)
        if dry_run:
            return Item(key, 0, obj), warnings
        return self.store.put(kind, key, obj), warnings

    def _start(self, kind: Kind, namespace: str, obj: dict[str, Any]) -> dict[str, Any]:
        asked = obj.get("metadata") or {}
        meta = {k: v for k, v in asked.items() if k not in {"resourceVersion", "managedFields", "selfLink"}}
        if "name" not in meta and "generateName" in meta:
            meta["name"] = self.generate_name(meta["generateName"])
        meta.setdefault("name", "")
        if kind.namespaced:
            meta["namespace"] = namespace
        meta["uid"] = self.new_uid()
        meta["creationTimestamp"] = stamp(self._clock.now())
        if kind in _COUNTED_GENERATIONS:
            meta["generation"] = 1
        return {**{k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}}, "metadata": meta}

    def update(
        self, kind: Kind, key: Key, new: dict[str, Any], *, subresource: str = "", dry_run: bool = False
    ) -> Item:
        """Replace an object, or only its status.

        Raises:
            ApiError: it does not exist, was changed meanwhile, or may not become that.
        """
        current = self.store.need(kind, key)
        meta = new.get("metadata") or {}
        if meta.get("resourceVersion", "") not in {"", str(current.version)}:
            raise errors.conflict(kind, key[1])
        if meta.get("uid", "") not in {"", current.obj["metadata"]["uid"]}:
            message = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: "
            found = current.obj["metadata"]["uid"]
            raise errors.ApiError(409, "Conflict", message + found, {"name": key[1], "kind": kind.plural})
        merged = self._merge(kind, current.obj, new, subresource)
        if merged == current.obj:
            return current
        if causes := validation.validate_update(kind, merged, current.obj):
            raise errors.invalid(kind, key[1], causes)
        if dry_run:
            return Item(key, current.version, merged)
        return self.write(kind, key, merged)

    def _merge(self, kind: Kind, old: dict[str, Any], new: dict[str, Any], subresource: str) -> dict[str, Any]:
        if subresource == "status":
            return {**old, "status": new.get("status") or {}}
        merged = {k: v for k, v in new.items() if k not in {"kind", "apiVersion", "status"}}
        if "status" in old:
            merged["status"] = old["status"]
        dropped = {"managedFields", "selfLink", *_KEPT_METADATA}
        asked = {k: v for k, v in (new.get("metadata") or {}).items() if k not in dropped}
        kept = {k: old["metadata"][k] for k in _KEPT_METADATA if k in old["metadata"]}
        meta = {**asked, **kept, "resourceVersion": old["metadata"]["resourceVersion"]}
        if "generation" in old["metadata"]:
            meta["generation"] = old["metadata"]["generation"]
            if merged.get("spec") != old.get("spec"):
                _check_rollout(kind, merged, old)
                meta["generation"] += 1
        if "deletionGracePeriodSeconds" in old["metadata"]:
            meta["deletionGracePeriodSeconds"] = old["metadata"]["deletionGracePeriodSeconds"]
        merged["metadata"] = meta
        return merged

    def write(self, kind: Kind, key: Key, obj: dict[str, Any]) -> Item:
        """Store a change; an object that was waiting only for its finalizers goes with the last of them."""
        meta = obj["metadata"]
        deleted = meta.get("deletionTimestamp") and not meta.get("deletionGracePeriodSeconds")
        # A namespace goes when its controller has emptied it.
        if deleted and not meta.get("finalizers") and kind is not NAMESPACES:
            removed = self.store.remove(kind, key)
            if removed is None:
                raise errors.not_found(kind, key[1])
            return removed
        return self.store.put(kind, key, obj)

    def edit(self, kind: Kind, key: Key, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Item | None:
        """A controller's change of the current version; None if the object is gone."""
        item = self.store.get(kind, key)
        if item is None:
            return None
        new = change(item.obj)
        return item if new is item.obj or new == item.obj else self.write(kind, key, new)

    def delete(self, kind: Kind, key: Key, options: DeleteOptions) -> tuple[Item, bool]:
        """Delete an object, at once or as far as finalizers and grace let it.

        Returns:
            Its last state, and whether it is gone.

        Raises:
            ApiError: it does not exist or is another one than was meant.
        """
        item = self.store.need(kind, key)
        meta = item.obj["metadata"]
        if kind is NAMESPACES and key[1] in _UNDELETABLE:
            raise errors.forbidden(kind, key[1], "this namespace may not be deleted")
        if options.uid is not None and options.uid != meta["uid"]:
            raise errors.precondition_failed(kind, key[1], "UID", options.uid, meta["uid"])
        if options.version is not None and options.version != meta["resourceVersion"]:
            raise errors.precondition_failed(kind, key[1], "ResourceVersion", options.version, meta["resourceVersion"])
        finalizers = self._finalizers(kind, meta, options)
        grace = _grace(item.obj, options) if kind is PODS else 0
        stays = bool(finalizers or grace or kind is NAMESPACES)
        if options.dry_run:
            return item, not stays
        if kind is PODS or stays:
            item = self._mark(kind, item, finalizers, grace)
        if stays:
            return item, False
        removed = self.store.remove(kind, key)
        return removed or item, True

    @staticmethod
    def _finalizers(kind: Kind, meta: dict[str, Any], options: DeleteOptions) -> list[str]:
        found = [one for one in meta.get("finalizers") or () if one not in {ORPHAN, FOREGROUND}]
        policy = options.policy or ("Orphan" if kind is JOBS else "Background")
        if extra := _POLICY_FINALIZER.get(policy):
            found.append(extra)
        return found

    def _mark(self, kind: Kind, item: Item, finalizers: list[str], grace: int) -> Item:
        meta = dict(item.obj["metadata"])
        again = "deletionTimestamp" in meta
        if again and meta.get("finalizers", []) == finalizers and meta["deletionGracePeriodSeconds"] <= grace:
            return item
        meta["deletionTimestamp"] = stamp(self._clock.now() + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if "generation" in meta and not again:
            meta["generation"] += 1
        meta["finalizers"] = finalizers
        if not finalizers:
            del meta["finalizers"]
        obj = {**item.obj, "metadata": meta}
        if kind is NAMESPACES:
            obj["status"] = {"phase": "Terminating"}
        return self.store.put(kind, item.key, obj)


def _grace(pod: dict[str, Any], options: DeleteOptions) -> int:
    """Seconds a pod gets; one that no kubelet runs needs none."""
    if not pod["spec"].get("nodeName") or has_ended(pod):
        return 0
    if options.grace_seconds is not None:
        return max(options.grace_seconds, 0)
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _check_rollout(kind: Kind, new: dict[str, Any], old: dict[str, Any]) -> None:
    if kind is DAEMONSETS and new["spec"].get("template") != old["spec"].get("template"):
        raise limits.refuse("rolling a DaemonSet")
    if kind is PODS:
        raise limits.refuse("changing a pod's spec")
