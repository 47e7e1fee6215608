"""Rights as sets: what bindings give an account, and what an account has asked the simulated cluster for."""

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.local.cluster.kinds import KINDS
from deploy.local.cluster.running import RunningCluster
from tests.deploy.kustomize import Object, of_kind

_GROUPS = {kind.plural: kind.group for kind in KINDS}


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource, in words of RBAC; `group` is "" for the core group."""

    verb: str
    resource: str
    group: str


def granted(objects: Sequence[Object], subject: Object) -> dict[str, frozenset[Right]]:
    """What all bindings together give a subject, by namespace; "" stands for the whole cluster.

    What stands for more than itself cannot be compared, so it is refused.
    """
    found: dict[str, frozenset[Right]] = {}
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        if not any(subject.items() <= each.items() for each in binding["subjects"]):
            continue
        namespace = binding["metadata"].get("namespace", "")
        ref = binding["roleRef"]
        (role,) = (
            role
            for role in of_kind(objects, ref["kind"])
            if role["metadata"]["name"] == ref["name"]
            and (ref["kind"] == "ClusterRole" or role["metadata"]["namespace"] == namespace)
        )
        found[namespace] = found.get(namespace, frozenset()) | rights_of(role)
    return found


def rights_of(role: Object) -> frozenset[Right]:
    """What a Role or ClusterRole allows."""
    found = set()
    for rule in role["rules"]:
        assert rule.keys() == {"apiGroups", "resources", "verbs"}, f"{role['metadata']['name']}: {rule}"
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found |= {Right(verb, resource, group) for verb in rule["verbs"]}
    assert not any("*" in (right.verb, right.resource, right.group) for right in found), role["metadata"]["name"]
    return frozenset(found)


def asked_for(cluster: RunningCluster, user: str) -> frozenset[Right]:
    """What a user has asked the simulated cluster for, granted or not.

    Raises:
        KeyError: it was no resource that the cluster has.
    """
    return frozenset(
        Right(entry["verb"], entry["resource"], _GROUPS[entry["resource"].partition("/")[0]])
        for entry in cluster.command("requests")
        if entry["user"] == user
    )


def refused(cluster: RunningCluster, user: str) -> list[Object]:
    """The user's requests that were answered with 403."""
    return [entry for entry in cluster.command("requests") if entry["user"] == user and entry["code"] == 403]
