"""What a scenario file may set; every part can also be sent as a command while the cluster runs."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageRule(_Part):
    """How the registry treats the images that match a pattern; what is not set follows from the name."""

    pattern: str
    size_mib: float | None = Field(None, gt=0)
    seconds: Seconds | None = None
    missing: bool | None = None
    denied: bool | None = None
    rate_limited: bool | None = None
    unreachable: bool | None = None
    fails: int | None = Field(None, ge=0)
    digest: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    runs: Seconds | Literal["forever"] | None = None
    exit_code: int | None = Field(None, ge=0, le=255)


class KubeletSettings(_Part):
    """How every kubelet works unless its node says otherwise."""

    bandwidth_mib: float = Field(100.0, gt=0, description="MiB a second that a node pulls at, shared by its pulls")
    pull_latency_seconds: Seconds = Field(0.2, description="what a registry takes to answer, whatever the size")
    parallel_pulls: int = Field(1, ge=1, description="1 is the kubelet's own default, serializeImagePulls")
    backoff_scale: float = Field(1.0, gt=0, description="1 is the kubelet's 10 s, doubling to 300 s")
    status_seconds: Seconds = Field(1.0, description="pod status changes within that time are reported as one")
    node_status_seconds: Seconds = Field(10.0, description="the same for node status (images)")
    restarts: bool = Field(True, description="whether containers that end are restarted where the policy says so")
    events: bool = True


class NodeSettings(_Part):
    """One node, or every node that a pattern matches."""

    pattern: str = "*"
    pool: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    taints: list[dict[str, str]] | None = None
    bandwidth_mib: float | None = Field(None, gt=0)
    images: list[str] = Field(default_factory=list, description="present from the start")
    max_pods: int | None = Field(None, ge=0)
    unschedulable: bool | None = None
    ready: Literal[True, False, "unknown"] | None = None
    disk_pressure: bool | None = Field(None, description="full: the kubelet refuses pods")
    disk_free_mib: float | None = Field(None, ge=0, description="pulls beyond it fail")
    stuck: bool | None = Field(None, description="the kubelet does nothing, but is still Ready")
    gone: bool | None = Field(None, description="true: the node vanishes; false: it is back under a new UID")


class Fault(_Part):
    """What goes wrong with the API requests that match."""

    name: str = "fault"
    users: list[str] = Field(default_factory=list)
    verbs: list[str] = Field(default_factory=list)
    resources: list[str] = Field(default_factory=list)
    share: Share = Field(1.0, description="of the matching requests")
    times: int | None = Field(None, ge=1, description="then it is over")
    seconds: Seconds | None = Field(None, description="after that time it is over")
    latency_seconds: Seconds = 0.0
    status: Literal[429, 500, 503, 504] | None = None
    retry_after: int | None = Field(None, ge=0)
    drop: Literal["before", "after"] | None = Field(None, description="close the connection before or after acting")


class Step(_Part):
    """A command at a moment of the scenario."""

    at: Seconds
    command: str
    body: dict[str, Any] = Field(default_factory=dict)


class Scenario(_Part):
    """A whole scenario."""

    images: list[ImageRule] = Field(default_factory=list)
    kubelet: KubeletSettings = KubeletSettings()
    nodes: list[NodeSettings] = Field(default_factory=list)
    faults: list[Fault] = Field(default_factory=list)
    bookmark_seconds: float = Field(60.0, gt=0)
    users: dict[str, str] = Field(
        default_factory=dict, description="further contexts of the kubeconfig, and the name each is known by"
    )
    quarantine_seconds: Seconds = Field(40.0, description="how long pods outlive a node that vanished")
    timeline: list[Step] = Field(default_factory=list)


def load(path: Path | None) -> Scenario:
    """Read a scenario file; none is the cluster where nothing goes wrong.

    Raises:
        ValueError: the file names something that cannot be set.
    """
    return Scenario() if path is None else Scenario.model_validate(yaml.safe_load(path.read_text()) or {})
