"""Who may do what: RBAC evaluated from Roles and bindings, as the real authorizer does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.local.cluster.errors import ApiError, forbidden
from deploy.local.cluster.kinds import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Kind
from deploy.local.cluster.store import Store

MASTERS = "system:masters"
_AUTHENTICATED = "system:authenticated"
# What everybody, and everybody with credentials, may read without a role.
_PUBLIC_PATHS = ("/version", "/healthz", "/livez", "/readyz")
_DISCOVERY_PATHS = ("/api", "/apis", "/openapi")


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...]

    @property
    def is_master(self) -> bool:
        """Whether nothing is refused."""
        return MASTERS in self.groups


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def user(name: str, *groups: str) -> User:
    """Somebody with credentials."""
    return User(name, (*groups, _AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked for."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


class Authorizer:
    """Evaluates the bindings in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, who: User, action: Action) -> tuple[bool, str]:
        """Whether it may be done, and the binding that says so."""
        if who.is_master:
            return True, ""
        if action.group == "authorization.k8s.io" and action.resource.startswith("selfsubject"):
            return _AUTHENTICATED in who.groups, ""
        for binding, said in self._bindings(action.namespace):
            subject = _subject(binding, who)
            if subject and any(_allows(rule, action) for rule in self._rules(binding)):
                role = binding["roleRef"]
                return True, f'RBAC: allowed by {said} of {role["kind"]} "{role["name"]}" to {subject}'
        return False, ""

    def decide_path(self, who: User, path: str) -> bool:
        """Whether a path that is no resource may be read."""
        if who.is_master or path in _PUBLIC_PATHS or path.startswith(("/readyz/", "/livez/", "/healthz/")):
            return True
        known = any(path == prefix or path.startswith(prefix + "/") for prefix in _DISCOVERY_PATHS)
        return _AUTHENTICATED in who.groups and known

    def check(self, who: User, kind: Kind, action: Action) -> None:
        """Refuse what may not be done.

        Raises:
            ApiError: 403.
        """
        if self.decide(who, action)[0]:
            return
        where = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
        why = (
            f'User "{who.name}" cannot {action.verb} resource "{action.resource}" in API group "{action.group}" {where}'
        )
        raise forbidden(kind, action.name, why)

    def check_path(self, who: User, verb: str, path: str) -> None:
        """Refuse a path that may not be read.

        Raises:
            ApiError: 403.
        """
        if not self.decide_path(who, path):
            message = f'forbidden: User "{who.name}" cannot {verb} path "{path}"'
            raise ApiError(403, "Forbidden", message, {})

    def _bindings(self, namespace: str) -> Iterator[tuple[dict[str, Any], str]]:
        for item in self._store.scan(CLUSTERROLEBINDINGS):
            yield item.obj, f'ClusterRoleBinding "{item.key[1]}"'
        if namespace:
            for item in self._store.scan(ROLEBINDINGS, namespace):
                yield item.obj, f'RoleBinding "{item.key[1]}/{namespace}"'

    def _rules(self, binding: dict[str, Any]) -> list[dict[str, Any]]:
        ref = binding["roleRef"]
        kind, namespace = CLUSTERROLES, ""
        if ref["kind"] == "Role":
            kind, namespace = ROLES, binding["metadata"]["namespace"]
        item = self._store.get(kind, (namespace, ref["name"]))
        return item.obj.get("rules") or [] if item else []


def _subject(binding: dict[str, Any], who: User) -> str:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "User" and name == who.name:
            return f'User "{name}"'
        if kind == "Group" and name in who.groups:
            return f'Group "{name}"'
        account = f"system:serviceaccount:{subject.get('namespace', '')}:{name}"
        if kind == "ServiceAccount" and account == who.name:
            return f'ServiceAccount "{name}/{subject.get("namespace", "")}"'
    return ""


def _allows(rule: dict[str, Any], action: Action) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _covers(rule.get("verbs"), action.verb)
        and _covers(rule.get("apiGroups"), action.group)
        and _covers(rule.get("resources"), action.resource)
        and (not names or action.name in names)
    )


def _covers(allowed: list[str] | None, wanted: str) -> bool:
    return allowed is not None and ("*" in allowed or wanted in allowed)
