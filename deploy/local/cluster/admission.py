"""What stands between a valid new object and the store: its namespace, Pod Security and quotas."""

from typing import Any

from deploy.local.cluster import errors, limits, podsecurity
from deploy.local.cluster.kinds import DAEMONSETS, JOBS, NAMESPACES, PODS, PRIORITYCLASSES, RESOURCEQUOTAS, Kind
from deploy.local.cluster.store import Store

_TEMPLATED = (JOBS, DAEMONSETS)


class Admission:
    """The admission plugins, in the order they run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, kind: Kind, namespace: str, obj: dict[str, Any]) -> list[str]:
        """Let a new object in.

        Returns:
            Warnings for the one who creates it.

        Raises:
            ApiError: 403, or 501 for what the simulation leaves out.
        """
        if kind is JOBS:
            limits.check_job(obj["spec"])
        elif kind is PODS:
            limits.check_pod(obj["spec"])
        elif kind is DAEMONSETS:
            limits.check_pod(obj["spec"]["template"]["spec"])
        elif kind is RESOURCEQUOTAS:
            limits.check_quota(obj.get("spec") or {})
        if not kind.namespaced:
            return []
        self._priority(kind, obj)
        warnings = self._pod_security(kind, namespace, obj)
        self._quotas(kind, namespace, obj["metadata"]["name"])
        return warnings

    def namespace(self, kind: Kind, namespace: str, name: str) -> None:
        """The namespace must be there, and not on its way out.

        Raises:
            ApiError: 404 or 403.
        """
        found = self._store.need(NAMESPACES, ("", namespace)).obj
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = errors.forbidden(kind, name, why)
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            error.details = {**(error.details or {}), "causes": [{**cause, "field": "metadata.namespace"}]}
            raise error

    def _priority(self, kind: Kind, obj: dict[str, Any]) -> None:
        wanted = obj["spec"].get("priorityClassName", "") if kind is PODS else ""
        if wanted and not wanted.startswith("system-") and self._store.get(PRIORITYCLASSES, ("", wanted)) is None:
            why = f"no PriorityClass with name {wanted} was found"
            raise errors.forbidden(kind, obj["metadata"]["name"], why)

    def _pod_security(self, kind: Kind, namespace: str, obj: dict[str, Any]) -> list[str]:
        if kind is not PODS and kind not in _TEMPLATED:
            return []
        labels = self._store.need(NAMESPACES, ("", namespace)).obj["metadata"].get("labels") or {}
        enforce, warn = podsecurity.levels(labels)
        spec = obj["spec"]["template"]["spec"] if kind in _TEMPLATED else obj["spec"]
        found = podsecurity.violations(enforce, spec) if kind is PODS else ""
        if found:
            why = f'violates PodSecurity "{enforce}:latest": {found}'
            raise errors.forbidden(kind, obj["metadata"]["name"], why)
        # A Job is let in whatever its pods ask for: only the pods are refused, later, by an Event.
        if kind is not PODS or warn != enforce:
            found = podsecurity.violations(warn, spec)
        return [f'would violate PodSecurity "{warn}:latest": {found}'] if found else []

    def _quotas(self, kind: Kind, namespace: str, name: str) -> None:
        counted = [f"count/{kind.qualified}", *(["pods"] if kind is PODS else [])]
        for item in self._store.scan(RESOURCEQUOTAS, namespace):
            hard = (item.obj.get("spec") or {}).get("hard") or {}
            used = self._store.count(kind, namespace)
            over = [resource for resource in counted if resource in hard and used + 1 > int(hard[resource])]
            if over:
                said = [",".join(f"{resource}={value}" for resource in over) for value in (1, used)]
                limited = ",".join(f"{resource}={hard[resource]}" for resource in over)
                quota = item.key[1]
                why = f"exceeded quota: {quota}, requested: {said[0]}, used: {said[1]}, limited: {limited}"
                raise errors.forbidden(kind, name, why)
