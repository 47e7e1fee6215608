"""One pod of a DaemonSet on every node that can take it."""

import hashlib
from collections import defaultdict
from typing import Any

import orjson

from deploy.local.cluster.clock import Clock
from deploy.local.cluster.controllers.queue import WorkQueue
from deploy.local.cluster.controllers.scheduler import CORDON_TAINT, node_matches, tolerates
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.events import EventRecorder
from deploy.local.cluster.kinds import DAEMONSETS, NODES, PODS
from deploy.local.cluster.pods import ENDED, Pod, has_ended, is_ready
from deploy.local.cluster.registry import DeleteOptions, Registry
from deploy.local.cluster.store import Change, Key

# Gathers what many pods of a set report at once; the real controller's queue is slowed down in the same way.
BATCH_SECONDS = 0.2
_BACKOFF_SECONDS, _BACKOFF_MOST = 1.0, 900.0
_NODE = "node.kubernetes.io/"
_TOLERATIONS = [
    {"key": _NODE + "not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": _NODE + "unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": _NODE + "disk-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": _NODE + "memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": _NODE + "pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": _NODE + "unschedulable", "operator": "Exists", "effect": "NoSchedule"},
]
_COMPONENT = "daemonset-controller"


class DaemonSetController:
    """Keeps every set at one pod a node."""

    def __init__(self, registry: Registry, events: EventRecorder, clock: Clock) -> None:
        self._registry = registry
        self._store = registry.store
        self._events = events
        self._clock = clock
        self._queue = WorkQueue(clock, self.sync)
        self._store.listen(DAEMONSETS, self._on_set)
        self._store.listen(PODS, self._on_pod)
        self._store.listen(NODES, self._on_node)

    def _on_set(self, change: Change) -> None:
        if change.type != "DELETED":
            self._queue.add_after(change.item.key, 0 if change.type == "ADDED" else BATCH_SECONDS)

    def _on_pod(self, change: Change) -> None:
        for owner in change.item.obj["metadata"].get("ownerReferences") or ():
            if owner["kind"] == "DaemonSet":
                self._queue.add_after((change.item.key[0], owner["name"]), BATCH_SECONDS)

    def _on_node(self, _change: Change) -> None:
        for item in self._store.scan(DAEMONSETS):
            self._queue.add_after(item.key, BATCH_SECONDS)

    def sync(self, key: Key) -> None:
        """Look at one set: create and delete pods, then report."""
        item = self._store.get(DAEMONSETS, key)
        if item is None or item.obj["metadata"].get("deletionTimestamp"):
            return
        found = item.obj
        on_node: defaultdict[str, list[Pod]] = defaultdict(list)
        for kind, owned in self._store.owned_by(found["metadata"]["uid"]):
            if kind is PODS:
                on_node[_node_of(owned.obj)].append(owned.obj)
        spec = {**found["spec"]["template"]["spec"]}
        spec["tolerations"] = [*(spec.get("tolerations") or ()), *_TOLERATIONS]
        wanted = {node.key[1] for node in self._store.scan(NODES) if _should_run(spec, node.obj)}
        refused = not self._adjust(found, spec, wanted, on_node)
        self._report(key, found, wanted, on_node)
        if refused:
            self._queue.retry(key, _BACKOFF_SECONDS, _BACKOFF_MOST)
        else:
            self._queue.forget(key)

    def _adjust(
        self, found: dict[str, Any], spec: dict[str, Any], wanted: set[str], on_node: defaultdict[str, list[Pod]]
    ) -> bool:
        well = True
        for node, pods in on_node.items():
            for pod in pods if node not in wanted else [p for p in pods if has_ended(p)]:
                if "deletionTimestamp" in pod["metadata"]:
                    continue
                key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
                if (phase := pod["status"]["phase"]) in ENDED:
                    message = (
                        f"Found {phase.lower()} daemon pod {key[0]}/{key[1]} on node {node}, will try to delete it"
                    )
                    reason = f"{phase}DaemonPod"
                    self._event(found, reason, message, warning=phase == "Failed")
                self._registry.delete(PODS, key, DeleteOptions())
                self._event(found, "SuccessfulDelete", f"Deleted pod: {key[1]}")
        for node in sorted(wanted - on_node.keys()):
            if not (well := self._create_pod(found, spec, node, on_node)):
                break
        return well

    def _create_pod(
        self, found: dict[str, Any], spec: dict[str, Any], node: str, on_node: defaultdict[str, list[Pod]]
    ) -> bool:
        meta = found["metadata"]
        template = found["spec"]["template"]
        labels = {
            **(template["metadata"].get("labels") or {}),
            "controller-revision-hash": _revision(template),
            "pod-template-generation": "1",
        }
        owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": meta["name"], "uid": meta["uid"]}
        pod_meta = {
            "generateName": meta["name"] + "-",
            **template["metadata"],
            "labels": labels,
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        }
        pinned = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pinned]}}
        pod = {"metadata": pod_meta, "spec": {**spec, "affinity": {"nodeAffinity": required}}}
        try:
            item, _ = self._registry.create(PODS, meta["namespace"], pod, of_template=True)
        except ApiError as error:
            self._event(found, "FailedCreate", f"Error creating: {error.message}", warning=True)
            return False
        on_node[node].append(item.obj)
        self._event(found, "SuccessfulCreate", f"Created pod: {item.key[1]}")
        return True

    def _report(self, key: Key, found: dict[str, Any], wanted: set[str], on_node: defaultdict[str, list[Pod]]) -> None:
        scheduled = [pods[0] for node, pods in on_node.items() if node in wanted]
        ready = sum(is_ready(pod) for pod in scheduled)
        status = {
            "currentNumberScheduled": len(scheduled),
            "numberMisscheduled": sum(node not in wanted for node in on_node),
            "desiredNumberScheduled": len(wanted),
            "numberReady": ready,
            "observedGeneration": found["metadata"]["generation"],
            "updatedNumberScheduled": len(scheduled),
            "numberAvailable": ready,
            "numberUnavailable": len(wanted) - ready,
        }
        for optional in ("updatedNumberScheduled", "numberAvailable", "numberUnavailable"):
            if not status[optional]:
                del status[optional]
        self._registry.edit(DAEMONSETS, key, lambda current: {**current, "status": status})

    def _event(self, found: dict[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        self._events.record(DAEMONSETS, found, reason, message, component=_COMPONENT, warning=warning)


def _should_run(spec: dict[str, Any], node: dict[str, Any]) -> bool:
    """Whether the set wants a pod there: taints count, cordons and conditions do not."""
    taints = [taint for taint in node["spec"].get("taints") or () if taint["key"] != CORDON_TAINT["key"]]
    kept = all(tolerates(spec["tolerations"], taint) for taint in taints if taint["effect"] != "PreferNoSchedule")
    return kept and node_matches(spec, node)


def _node_of(pod: Pod) -> str:
    if bound := pod["spec"].get("nodeName"):
        return str(bound)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])


def _revision(template: dict[str, Any]) -> str:
    """A hash of the template; the real one is another function of it, and as opaque."""
    return str(int(hashlib.sha256(orjson.dumps(template, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8], 16))
