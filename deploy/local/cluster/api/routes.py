"""What a path and a method mean."""

from dataclasses import dataclass

from deploy.local.cluster import errors, limits
from deploy.local.cluster.kinds import BY_PATH, GROUPS, Kind

_SUBRESOURCES = ("status",)
_PARTS_OF_RESOURCE_PATH = 3


@dataclass(frozen=True, slots=True)
class Route:
    """One resource, collection or subresource."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def resource(self) -> str:
        """`pods` or `pods/status`, as RBAC rules name it."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    def verb(self, method: str, *, watch: bool) -> str:
        """The API's word for what the method does here.

        Raises:
            ApiError: the resource has no such verb.
        """
        if self.name:
            verb = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "")
        else:
            reading = "watch" if watch else "list"
            verb = {"GET": reading, "POST": "create", "DELETE": "deletecollection"}.get(method, "")
        if verb == "watch" and self.name:
            verb = "get"
        if verb not in self.kind.verbs:
            raise errors.method_not_allowed()
        return verb


def parse(path: str) -> Route | None:
    """Find the resource a path names; None for a path that is no resource's.

    Raises:
        ApiError: 404 for a resource that does not exist, 501 for one that is not emulated.
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= _PARTS_OF_RESOURCE_PATH and parts[1] == "v1":
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > _PARTS_OF_RESOURCE_PATH and parts[1] in GROUPS and parts[2] == "v1":
        group, rest = parts[1], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    kind = BY_PATH.get((group, plural))
    why = limits.RESOURCES.get((group, plural))
    if why is not None:
        raise errors.not_emulated(f"{plural}.{group}" if group else plural, why)
    if kind is None or (kind.namespaced and not namespace and name) or (namespace and not kind.namespaced):
        raise errors.no_such_resource()
    if subresource in limits.SUBRESOURCES:
        raise errors.not_emulated(f"{plural}/{subresource}", limits.SUBRESOURCES[subresource])
    if subresource and (subresource not in _SUBRESOURCES or not kind.status or len(rest) > _PARTS_OF_RESOURCE_PATH):
        raise errors.no_such_resource()
    return Route(kind, namespace, name, subresource)
