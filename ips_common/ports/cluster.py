"""The cluster: one Kubernetes API server, as far as prewarming needs it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event
from types import TracebackType
from typing import Any, Protocol, Self

from ips_common.models.node import Node
from ips_common.observe import Observation

Json = dict[str, Any]
"""A parsed JSON object of the Kubernetes API, as it came or as it is to be sent."""


READ_SECONDS = 30.0
"""Time that reading many objects may take."""
PROBE_SECONDS = 5.0
"""Time that finding out what the API server supports may take."""
DELETE_SECONDS = 120.0
"""Time that deleting many Jobs may take."""


class Creation(StrEnum):
    """What became of a Job's creation."""

    CREATED = "created"
    EXISTS = "exists"
    REFUSED = "refused"  # the API server said no
    FAILED = "failed"  # it could not be reached or kept failing, or an earlier Job of this name is still being deleted


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of one Job's creation.

    `status`, `reason` and `message` are the API server's last words where it had any; `status` is 0 if it could not be
    reached. Want of rights and a quota that is used up are both 403 and `Forbidden`; only the message tells them apart.
    """

    name: str
    creation: Creation
    message: str = ""
    status: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Synced:
    """The watch has delivered everything that existed when it began; what is not known by now does not exist."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The watch broke off or cannot be begun; it goes on trying and will say `Synced` again, all anew."""

    message: str


WatchEvent = Observation | Synced | Lost


@dataclass(frozen=True, slots=True)
class Refusals:
    """Jobs and DaemonSets whose pods the API server refuses, with its words.

    `readable` is false where events may not be listed.
    """

    messages: Mapping[str, str] = field(default_factory=dict)  # name → message
    readable: bool = True


class Watch(Protocol):
    """A running observation of all prewarm Jobs and their pods; leaving its `with` block closes it."""

    def get(self, timeout: float) -> Sequence[WatchEvent]:
        """Return all that came since the last call, waiting up to `timeout` seconds for the first of it.

        Returns early after `wake`, even empty-handed, and at once when the watch is over.
        """
        ...

    def wake(self) -> None:
        """Make `get` return now, or the next one at once if none waits; any thread may call it."""
        ...

    def close(self) -> None:
        """End the watch; what was not fetched is dropped."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Cluster(Protocol):
    """One Kubernetes cluster, as far as prewarming needs it."""

    name: str

    def nodes(
        self, selector: Mapping[str, str], images: Collection[str] | None = None, *, timeout: float = READ_SECONDS
    ) -> Sequence[Node]:
        """List the nodes that match every label, in order of their names.

        Args:
            selector: label → value; empty for all nodes.
            images: canonical references worth knowing about; None keeps all that nodes report, which for thousands of
                nodes takes tens of MiB.
            timeout: seconds it may take.

        Raises:
            ClusterRefused: nodes may not be listed.
        """
        ...

    def node(self, name: str) -> Node | None:
        """Read one node; None if it does not exist."""
        ...

    def create_jobs(self, jobs: Sequence[Json], timeout: float) -> Sequence[JobOutcome]:
        """Create Jobs, many at a time, within `timeout` seconds; one outcome each, in order.

        Never raises for a Job that could not be created.
        """
        ...

    def delete_jobs(
        self,
        task_id: str,
        *,
        batch: int | None = None,
        attempt: int | None = None,
        unfinished_only: bool = False,
        timeout: float = DELETE_SECONDS,
    ) -> None:
        """Delete a task's Jobs with their pods; those of one batch of one attempt, or only those that did not succeed.

        Takes `timeout` seconds at most.

        Raises:
            ClusterRefused: Jobs may not be deleted.
        """
        ...

    def delete_named_jobs(self, names: Sequence[str]) -> None:
        """Delete Jobs by name with their pods; one that does not exist is fine."""
        ...

    def create_daemonset(self, daemonset: Json, timeout: float) -> JobOutcome:
        """Create a DaemonSet within `timeout` seconds; never raises if it could not be created."""
        ...

    def delete_daemonsets(self, task_id: str, *, attempt: int | None = None, timeout: float = DELETE_SECONDS) -> None:
        """Delete a task's DaemonSets with their pods, or only that of one attempt.

        Raises:
            ClusterRefused: DaemonSets may not be deleted.
        """
        ...

    def has_daemonsets(self, task_id: str) -> bool:
        """Whether any DaemonSet of the task exists."""
        ...

    def has_jobs(self, task_id: str) -> bool:
        """Whether any Job of the task exists."""
        ...

    def refusals(self) -> Refusals:
        """Read from the namespace's Events which Jobs and DaemonSets got no pod because the API server refused it."""
        ...

    def watch(self, stop: Event, *, seconds: float) -> Watch:
        """Observe all prewarm Jobs and their pods: first what exists, then `Synced`, then changes as they come.

        Is over when `stop` is set or `seconds` have passed. A watch that breaks off is taken up again by itself. Where
        that needs a new list there is one `Lost` however long the outage, then everything that exists and a `Gone` for
        everything that vanished meanwhile, then `Synced`.
        """
        ...

    def supports_image_volumes(self) -> bool:
        """Whether pods may have image volumes; asked of the API server now and then, else remembered.

        Raises:
            ClusterRefused: it does not let itself be asked.
        """
        ...

    def ready(self, timeout: float) -> None:
        """Return when Jobs can be listed within `timeout` seconds, raise otherwise."""
        ...


class Clusters(Protocol):
    """The configured clusters."""

    def names(self) -> Sequence[str]:
        """Return all names, in the order of the configuration."""
        ...

    def get(self, name: str) -> Cluster:
        """Return a cluster.

        Raises:
            InvalidRequest: no cluster has this name.
            ClusterUnavailable: its credentials cannot be had now.
        """
        ...
