"""The kinds of objects the simulation serves, and those it only knows by name."""

from dataclasses import dataclass

_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource of the API."""

    group: str
    plural: str
    kind: str
    namespaced: bool = True
    model: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    verbs: tuple[str, ...] = _ALL_VERBS
    storage_hash: str = ""
    stored: bool = True

    @property
    def api_version(self) -> str:
        """`v1` or `batch/v1`."""
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def qualified(self) -> str:
        """`nodes` or `jobs.batch`, as messages and quotas name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_RBAC = "rbac.authorization.k8s.io"

NAMESPACES = Kind("", "namespaces", "Namespace", namespaced=False, model="V1Namespace", short=("ns",), status=True)
NODES = Kind("", "nodes", "Node", namespaced=False, model="V1Node", short=("no",), status=True)
PODS = Kind("", "pods", "Pod", model="V1Pod", short=("po",), categories=("all",), status=True)
EVENTS = Kind("", "events", "Event", model="CoreV1Event", short=("ev",))
SECRETS = Kind("", "secrets", "Secret", model="V1Secret")
SERVICEACCOUNTS = Kind("", "serviceaccounts", "ServiceAccount", model="V1ServiceAccount", short=("sa",))
RESOURCEQUOTAS = Kind("", "resourcequotas", "ResourceQuota", model="V1ResourceQuota", short=("quota",), status=True)
CRONJOBS = Kind(
    "batch",
    "cronjobs",
    "CronJob",
    short=("cj",),
    categories=("all",),
    status=True,
    storage_hash="sd5LIXh4Fjs=",
    stored=False,
)
JOBS = Kind("batch", "jobs", "Job", model="V1Job", categories=("all",), status=True, storage_hash="mudhfqk/qZY=")
DAEMONSETS = Kind(
    "apps", "daemonsets", "DaemonSet", model="V1DaemonSet", short=("ds",), categories=("all",), status=True
)
PRIORITYCLASSES = Kind(
    "scheduling.k8s.io", "priorityclasses", "PriorityClass", namespaced=False, model="V1PriorityClass", short=("pc",)
)
ROLES = Kind(_RBAC, "roles", "Role", model="V1Role")
ROLEBINDINGS = Kind(_RBAC, "rolebindings", "RoleBinding", model="V1RoleBinding")
CLUSTERROLES = Kind(_RBAC, "clusterroles", "ClusterRole", namespaced=False, model="V1ClusterRole")
CLUSTERROLEBINDINGS = Kind(
    _RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False, model="V1ClusterRoleBinding"
)
ACCESS_REVIEWS = Kind(
    "authorization.k8s.io",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
    model="V1SelfSubjectAccessReview",
    verbs=("create",),
    stored=False,
)

KINDS: tuple[Kind, ...] = (
    NAMESPACES,
    NODES,
    PODS,
    EVENTS,
    SECRETS,
    SERVICEACCOUNTS,
    RESOURCEQUOTAS,
    CRONJOBS,
    JOBS,
    DAEMONSETS,
    PRIORITYCLASSES,
    ROLES,
    ROLEBINDINGS,
    CLUSTERROLES,
    CLUSTERROLEBINDINGS,
    ACCESS_REVIEWS,
)
STORED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind.stored)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(kind.group for kind in KINDS))
BY_PATH: dict[tuple[str, str], Kind] = {(kind.group, kind.plural): kind for kind in KINDS}
BY_KIND: dict[tuple[str, str], Kind] = {(kind.api_version, kind.kind): kind for kind in KINDS}
