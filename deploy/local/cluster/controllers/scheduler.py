"""Where a pod goes, and what is said when it can go nowhere."""

from collections import Counter
from typing import Any

from deploy.local.cluster.clock import Clock, stamp
from deploy.local.cluster.controllers.queue import WorkQueue
from deploy.local.cluster.events import EventRecorder
from deploy.local.cluster.kinds import NODES, PODS
from deploy.local.cluster.pods import has_ended
from deploy.local.cluster.registry import Registry
from deploy.local.cluster.selectors import Requirement, selector_object
from deploy.local.cluster.store import Change, Key

# Pods that fit nowhere are looked at again when a node changes or a pod leaves, and at least this often.
RETRY_SECONDS = 60.0
_AFTER_CHANGE_SECONDS = 0.2
_COMPONENT = "default-scheduler"
_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
_NOT_NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
_TAINTS = "node(s) had untolerated taint(s)"
_CORDONED = "node(s) were unschedulable"
_FULL = "Too many pods"
_NO_HELP, _NO_VICTIMS = "Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"
CORDON_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
Node = dict[str, Any]


class Scheduler:
    """Binds pods to nodes one at a time."""

    def __init__(self, registry: Registry, events: EventRecorder, clock: Clock) -> None:
        self._registry = registry
        self._store = registry.store
        self._events = events
        self._clock = clock
        self._queue = WorkQueue(clock, self.schedule)
        self._waiting: set[Key] = set()
        self._placed: Counter[str] = Counter()
        self._store.listen(PODS, self._on_pod)
        self._store.listen(NODES, self._on_node)

    def _on_pod(self, change: Change) -> None:
        before = _occupied(change.previous.obj) if change.previous else ""
        after = _occupied(change.item.obj) if change.type != "DELETED" else ""
        if before != after:
            self._placed[before] -= 1
            self._placed[after] += 1
            if before:
                self._retry_waiting()
        if change.type == "DELETED":
            self._waiting.discard(change.item.key)
        elif change.type == "ADDED" and not change.item.obj["spec"].get("nodeName"):
            self._queue.add(change.item.key)

    def _on_node(self, change: Change) -> None:
        before = change.previous.obj if change.previous else {}
        if change.type != "MODIFIED" or _placement(before) != _placement(change.item.obj):
            self._retry_waiting()

    def _retry_waiting(self) -> None:
        for key in self._waiting:
            self._queue.add_after(key, _AFTER_CHANGE_SECONDS)

    def schedule(self, key: Key) -> None:
        """Bind one pod, or say why it cannot be."""
        item = self._store.get(PODS, key)
        if item is None or item.obj["spec"].get("nodeName") or item.obj["metadata"].get("deletionTimestamp"):
            self._waiting.discard(key)
            return
        pod = item.obj
        reasons: Counter[str] = Counter()
        best: Node | None = None
        for node in self._candidates(pod, reasons):
            reason = self._refusal(pod, node)
            if reason is not None:
                reasons[reason] += 1
            elif best is None or self._placed[_name(node)] < self._placed[_name(best)]:
                best = node
        if best is None:
            self._unschedulable(key, pod, reasons)
        else:
            self._bind(key, pod, best)

    def _candidates(self, pod: dict[str, Any], reasons: Counter[str]) -> list[Node]:
        """The nodes worth a look: those the pod names, where it names any."""
        total = self._store.count(NODES)
        named = _named_nodes(pod)
        if named is None:
            return [item.obj for item in self._store.scan(NODES)]
        found = [item.obj for name in sorted(named) if (item := self._store.get(NODES, ("", name))) is not None]
        if total > len(found):
            reasons[_NOT_NAMED] = total - len(found)
        return found

    def _refusal(self, pod: dict[str, Any], node: Node) -> str | None:
        spec = node["spec"]
        tolerations = pod["spec"].get("tolerations") or ()
        if spec.get("unschedulable") and not tolerates(tolerations, CORDON_TAINT):
            return _CORDONED
        for taint in spec.get("taints") or ():
            if taint["effect"] != "PreferNoSchedule" and not tolerates(tolerations, taint):
                return _TAINTS
        if not node_matches(pod["spec"], node):
            return _AFFINITY
        allocatable = int(node["status"].get("allocatable", {}).get("pods", 110))
        return _FULL if self._placed[_name(node)] >= allocatable else None

    def _bind(self, key: Key, pod: dict[str, Any], node: Node) -> None:
        name = _name(node)
        labels = node["metadata"].get("labels") or {}
        # The PodTopologyLabels admission copies these when the pod is bound.
        topology = {label: labels[label] for label in _TOPOLOGY if label in labels}
        meta = {**pod["metadata"], "labels": {**(pod["metadata"].get("labels") or {}), **topology}}
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None}
        status = {**pod["status"], "conditions": [{**scheduled, "lastTransitionTime": stamp(self._clock.now())}]}
        self._store.put(PODS, key, {"metadata": meta, "spec": {**pod["spec"], "nodeName": name}, "status": status})
        self._waiting.discard(key)
        message = f"Successfully assigned {key[0]}/{key[1]} to {name}"
        self._events.record(PODS, pod, "Scheduled", message, component=_COMPONENT)

    def _unschedulable(self, key: Key, pod: dict[str, Any], reasons: Counter[str]) -> None:
        message = _message(self._store.count(NODES), reasons)
        self._waiting.add(key)
        self._queue.add_after(key, RETRY_SECONDS)
        old = next((c for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"), None)
        if old is None or old.get("message") != message:
            condition = {
                "type": "PodScheduled",
                "observedGeneration": pod["metadata"]["generation"],
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": old["lastTransitionTime"] if old else stamp(self._clock.now()),
                "reason": "Unschedulable",
                "message": message,
            }
            self._store.put(PODS, key, {**pod, "status": {**pod["status"], "conditions": [condition]}})
        self._events.record(PODS, pod, "FailedScheduling", message, component=_COMPONENT, warning=True)


def _message(total: int, reasons: Counter[str]) -> str:
    said = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    helpless = sum(count for reason, count in reasons.items() if reason != _FULL)
    preemption = [f"{n} {why}" for n, why in ((total - helpless, _NO_VICTIMS), (helpless, _NO_HELP)) if n]
    if not total:
        return "no nodes available to schedule pods"
    return (
        f"0/{total} nodes are available: {said}. no new claims to deallocate, "
        f"preemption: 0/{total} nodes are available: {', '.join(sorted(preemption))}."
    )


def _name(node: Node) -> str:
    return str(node["metadata"]["name"])


def _occupied(pod: dict[str, Any]) -> str:
    """The node whose room the pod takes."""
    return "" if has_ended(pod) else pod["spec"].get("nodeName", "")


def _placement(node: Node) -> tuple[Any, ...]:
    return node.get("spec"), node["metadata"].get("labels"), node["status"].get("allocatable")


def _terms(pod_spec: dict[str, Any]) -> list[dict[str, Any]] | None:
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required.get("nodeSelectorTerms") or []


def _named_nodes(pod: dict[str, Any]) -> set[str] | None:
    """The nodes that every affinity term pins the pod to by name; None where one does not."""
    terms = _terms(pod["spec"])
    if not terms:
        return None
    named: set[str] = set()
    for term in terms:
        fields = [f for f in term.get("matchFields") or () if f["key"] == "metadata.name" and f["operator"] == "In"]
        if not fields:
            return None
        named |= set.intersection(*(set(f["values"]) for f in fields))
    return named


def node_matches(pod_spec: dict[str, Any], node: Node) -> bool:
    """Whether the pod's node selector and required node affinity accept the node."""
    labels = node["metadata"].get("labels") or {}
    if not (pod_spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    terms = _terms(pod_spec)
    return terms is None or any(_term_matches(term, labels, _name(node)) for term in terms)


def _term_matches(term: dict[str, Any], labels: dict[str, str], name: str) -> bool:
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    if not expressions and not fields:
        return False
    compared = [part for part in expressions if part["operator"] in {"Gt", "Lt"}]
    plain = selector_object({"matchExpressions": [part for part in expressions if part not in compared]})
    named = [Requirement(f["key"], frozenset(f["values"]), f["operator"] == "NotIn") for f in fields]
    return (
        all(requirement.matches(labels) for requirement in plain)
        and all(requirement.matches({"metadata.name": name}) for requirement in named)
        and all(_compares(part, labels.get(part["key"], "")) for part in compared)
    )


def _compares(part: dict[str, Any], found: str) -> bool:
    if not found.lstrip("-").isdigit():
        return False
    limit = int(part["values"][0])
    return int(found) > limit if part["operator"] == "Gt" else int(found) < limit


def tolerates(tolerations: Any, taint: dict[str, Any]) -> bool:
    """Whether one of the tolerations covers the taint."""
    for one in tolerations:
        if one.get("effect") not in {None, "", taint["effect"]}:
            continue
        if not one.get("key"):
            if one.get("operator") == "Exists":
                return True
        elif one["key"] == taint["key"] and (
            one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", "")
        ):
            return True
    return False
