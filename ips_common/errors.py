"""Everything that can go wrong, as one tree.

    IPSError
    ├── TemporaryError              try again: a push is nacked, a request answers 503 with Retry-After
    │   ├── StoreUnavailable        Firestore cannot be reached or is overloaded
    │   ├── BusUnavailable          Pub/Sub cannot be reached
    │   ├── ClusterUnavailable      the API server cannot be reached, throttles or fails
    │   ├── IssuerUnavailable       the keys of callers' tokens cannot be fetched
    │   ├── ReleasesUnavailable     Cloud Deploy cannot say what a release holds
    │   ├── QueueFull               IPS_MAX_PENDING_TASKS tasks wait for the cluster already
    │   └── Contention              a compare-and-set lost too often
    └── PermanentError              trying again changes nothing
        ├── InvalidRequest          a caller's input; names every bad field
        ├── InvalidCredentials      a caller's token or key proves nothing
        ├── TaskNotFound
        ├── Conflict                the state does not allow it
        │   ├── StaleVersion        somebody else wrote first: read again
        │   ├── SlotsFull           MAX_CONCURRENT_TASKS tasks run in the cluster
        │   └── TaskFinished        a finished task cannot change any more
        ├── ClusterRefused          the API server understood and said no
        ├── ReleaseNotFound         Cloud Deploy knows no such release
        ├── MalformedMessage        a Pub/Sub message that can never be handled
        ├── UnreadableDocument      what is stored makes no sense to this version of IPS
        └── ConfigError             names the variable

Adapters translate foreign errors once, at their edge, `from` the original. Functions need only the two branches:
return acknowledges, `TemporaryError` or anything unknown is raised and so delivered again, `PermanentError` is recorded
and acknowledged.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class IPSError(Exception):
    """Root of the tree; the message is written for an operator."""

    code = "internal"


class TemporaryError(IPSError):
    """Worth trying again after `retry_after` seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StoreUnavailable(TemporaryError):
    """Firestore cannot be reached or is overloaded."""

    code = "store-unavailable"


class BusUnavailable(TemporaryError):
    """Pub/Sub cannot be reached."""

    code = "bus-unavailable"


class ClusterUnavailable(TemporaryError):
    """The API server cannot be reached, throttles or fails."""

    code = "cluster-unavailable"


class IssuerUnavailable(TemporaryError):
    """The keys that callers' tokens are signed with cannot be fetched."""

    code = "issuer-unavailable"


class ReleasesUnavailable(TemporaryError):
    """Cloud Deploy cannot be reached, or does not let us read a release."""

    code = "releases-unavailable"


class QueueFull(TemporaryError):
    """So many tasks wait for the cluster that another one would only wait, too."""

    code = "too-many-tasks"

    def __init__(self, cluster: str, waiting: int) -> None:
        super().__init__(f"{waiting} tasks wait for cluster {cluster} already", retry_after=30)


class Contention(TemporaryError):
    """A compare-and-set lost too often against other writers."""

    code = "contention"


class PermanentError(IPSError):
    """Trying again changes nothing."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: `field` as the caller spelled it (`images[2]`), `message` what to do about it."""

    field: str
    message: str


class InvalidRequest(PermanentError):
    """A caller's input is wrong; `fields` names every bad field at once."""

    code = "invalid-request"

    def __init__(self, message: str, fields: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class InvalidCredentials(PermanentError):
    """A caller's token or key proves nothing; the message says why without repeating any of it."""

    code = "invalid-credentials"


class TaskNotFound(PermanentError):
    """No task has this id."""

    code = "task-not-found"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} does not exist")
        self.task_id = task_id


class Conflict(PermanentError):
    """The state does not allow it."""

    code = "conflict"


class StaleVersion(Conflict):
    """Somebody else wrote first: read again and decide anew."""

    code = "stale-version"


class SlotsFull(Conflict):
    """MAX_CONCURRENT_TASKS tasks already run in the cluster."""

    code = "slots-full"


class TaskFinished(Conflict):
    """A finished task cannot change any more."""

    code = "task-finished"


class ClusterRefused(PermanentError):
    """The API server understood and said no; `reason` is its `Status` reason (`Forbidden`, `Invalid`, ...)."""

    code = "cluster-refused"

    def __init__(self, message: str, *, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ReleaseNotFound(PermanentError):
    """Cloud Deploy knows no such release."""

    code = "release-not-found"


class MalformedMessage(PermanentError):
    """A Pub/Sub message that can never be handled."""

    code = "malformed-message"


class UnreadableDocument(PermanentError):
    """What is stored makes no sense to this version of IPS; the message names the document and quotes nothing of it."""

    code = "unreadable-document"


class ConfigError(PermanentError):
    """The configuration is wrong; the message names the variable."""

    code = "config"
