"""What the explorer may choose from: what callers ask for, and what goes wrong."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from ips_common.cluster.memory import denied, not_found
from ips_common.errors import ClusterRefused
from ips_common.models.image import parse_image
from ips_common.observe import ContainerSeen
from tests.model.actor import FOREVER, Fault
from tests.model.cluster import TimedCluster

T = TypeVar("T")

IMAGES = ("nginx:1.27", "redis:7", "registry.example/app:1")
MAKING = ("create_job", "create_daemonset", "create_job", "create_daemonset", "task", "report", "publish kick")
"""Calls before which a batch may be overtaken."""
POINTS = {
    "batch": MAKING,
    "notify": ("post", "save", "post", "save", "task"),
    "release": ("create_task", "start", "task", "queue"),
}
"""Calls at which each kind of message is best interrupted."""
TELLING = (
    *("task", "save", "start", "shards", "report", "acquire_lease", "open_tasks"),
    *("publish batch", "publish kick", "publish notify", "post"),
    *("create_job", "create_daemonset", "delete_jobs", "delete_daemonsets", "delete_named_jobs", "watch", "nodes"),
    *("delete_jobs", "delete_daemonsets", "delete_daemonsets"),
)
"""Calls before which it matters most that an instance dies, or others come first."""
FULL = frozenset(parse_image(image).canonical for image in IMAGES)
"""The images of a node that holds all of them."""
DIGESTS = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
numbers = st.integers(0, 7)
calls = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 11, 16, FOREVER, FOREVER])
few = st.sampled_from([0, 1, 2, 3, 5])
skews = st.sampled_from([0.0, 0.0, 60.0, -60.0])
faults = st.sampled_from([Fault.CRASH, Fault.CRASH, Fault.FAIL, Fault.FAIL_LATE])
shapes = st.fixed_dictionaries(
    {
        "slots": st.integers(1, 2),
        "nodes": st.sampled_from([2, 3, 4, 5, 6, 1]),
        "skew": skews,
        "few": st.booleans(),
        "leases": st.booleans(),
    }
)
specs = st.fixed_dictionaries(
    {
        "images": st.sampled_from([IMAGES[:1], IMAGES[:2], IMAGES[1:]]),
        "batchSize": st.sampled_from([1, 1, 2, 3, 10]),
        "maxConcurrentBatches": st.sampled_from([1, 1, 2, 3]),
        "maxRetries": st.sampled_from([0, 1, 2]),
        "retryDelaySeconds": st.sampled_from([1, 10]),
        "timeoutSeconds": st.sampled_from([30, 60]),
        "successThreshold": st.sampled_from([1.0, 0.9, 0.5, 0.0]),
    },
    optional={
        "priority": st.integers(1, 10),
        "failFast": st.just(True),
        "nodeSelector": st.sampled_from([*[{"pool": "a"}] * 7, {"pool": "none"}]),
        "skipPresent": st.just(False),
        "pullPolicy": st.just("Always"),
        "retryPolicy": st.just("linear"),
        "pullStrategy": st.just("imageVolume"),
        "webhookUrl": st.just("https://hooks.example/ended"),
        "mode": st.sampled_from(["daemonset", "daemonset", "job"]),
    },
)
troubles: dict[str, Callable[[str], ContainerSeen]] = {
    "missing": not_found,
    "denied": denied,
    "slow": lambda _: ContainerSeen(waiting="ContainerCreating"),
    "flaky": lambda _: ContainerSeen(waiting="ErrImagePull", message="dial tcp 10.0.0.1:443: i/o timeout"),
}
node_troubles: dict[str, Callable[[TimedCluster, str], object]] = {
    "its Jobs are deleted": lambda cluster, name: cluster.delete_jobs_of(name),
    "evict": lambda cluster, name: cluster.evict(name),
    "gone": lambda cluster, name: cluster.remove_node(name),
    "replaced": lambda cluster, name: cluster.replace_node(name, f"uid-{name}-{len(cluster.created)}"),
    "stuck": lambda cluster, name: cluster.stuck.add(name),
    "silent": lambda cluster, name: cluster.silence(name),
    "cordoned": lambda cluster, name: cluster.change_node(name, schedulable=False),
    "cursed": lambda cluster, name: cluster.cursed.add(name),
    "full": lambda cluster, name: cluster.change_node(name, images=FULL),
    "back": lambda cluster, name: cluster.restore(name),
}
FORBIDDEN = ClusterRefused("nodes is forbidden: cannot do anything", status=403, reason="Forbidden")
outages: dict[str, tuple[str, str, object]] = {
    "the store is away": ("store", "down", True),
    "the store is away again": ("store", "down", True),
    "the bus is away": ("bus", "down", True),
    "the bus is about to go away": ("bus", "_left", 1),
    "the API server is away": ("cluster", "away", True),
    "the API server is away again": ("cluster", "away", True),
    "the API server is away once more": ("cluster", "away", True),
    "the API server forbids": ("cluster", "refusal", FORBIDDEN),
    "nobody may create Jobs": ("cluster", "forbids", "jobs.batch is forbidden: cannot create resource jobs"),
    "a policy denies Jobs": ("cluster", "forbids", 'admission webhook "policy" denied the request'),
    "the quota is used up": ("cluster", "quota", 0),
    "the quota is small": ("cluster", "quota", 2),
    "pods are refused": ("cluster", "pod_refusal", "pods may not"),
    "events are unreadable": ("cluster", "events_readable", False),
    "there are no image volumes": ("cluster", "image_volumes", False),
    "the Job controller is behind": ("cluster", "status_late", True),
}
receivers: dict[str, tuple[str, str, object]] = {
    "away": ("postman", "away", True),
    "weary": ("postman", "weary", True),
}


def pick(things: Sequence[T], number: int) -> T:
    """Return one of `things`, whatever the number."""
    return things[number % len(things)]
