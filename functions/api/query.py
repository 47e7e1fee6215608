"""Query parameters and headers that routes take, as models: checked by them, documented from them."""

from typing import Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from ips_common.models.base import Model
from ips_common.models.task import ClusterName, TaskStatus

MAX_OFFSET = 10_000
"""Firestore reads, and bills, every task that an offset skips."""


class Query(Model):
    """Base of all query models."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class NoQuery(Query):
    """The route takes no parameters."""


class CreateQuery(Query):
    """How to create a task."""

    dry_run: bool = False
    """Only return the plan: nodes, batches, exclusions. Nothing is stored."""

    @field_validator("dry_run", mode="before")
    @classmethod
    def _no_other_words(cls, value: object) -> object:
        # What looks like yes to one reader, and like no to another, would create a task or not.
        if value not in {"true", "false"}:
            raise ValueError("must be true or false")
        return value


class TasksQuery(Query):
    """Which tasks to list."""

    status: TaskStatus | None = None
    """Only tasks that stand so."""
    cluster: ClusterName | None = None
    """Only tasks of this cluster."""
    limit: int = Field(default=10, ge=1, le=100)
    """Tasks on a page."""
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    """Tasks to skip; `pageToken` goes further and costs less."""
    page_token: str | None = Field(default=None, max_length=1000)
    """`nextPageToken` of the page before, with the same filter."""

    @field_validator("page_token")
    @classmethod
    def _one_way_to_page(cls, token: str | None, info: ValidationInfo) -> str | None:
        if token and info.data.get("offset"):
            raise ValueError("give either offset or pageToken")
        return token


class NodesQuery(Query):
    """Which nodes of a task to list."""

    status: Literal["pending", "succeeded", "skipped", "failed", "cancelled"] | None = None
    """Only nodes that stand so."""
    limit: int = Field(default=100, ge=1, le=500)
    """Nodes on a page."""
    page_token: str | None = Field(default=None, max_length=1000)
    """`nextPageToken` of the page before, with the same filter."""


class GateQuery(Query):
    """When to let a release go."""

    min: float = Field(default=0.95, ge=0, le=1, allow_inf_nan=False)
    """Share of nodes that must hold every image."""
    wait_seconds: float = Field(default=0, ge=0, le=3600, allow_inf_nan=False)
    """How long to wait for the answer; one call waits at most 50 s, so ask again on 202."""


class PredictionsQuery(Query):
    """Which past tasks to look at."""

    days: int = Field(default=7, ge=1, le=90)
    """Days to look back."""
    min_count: int = Field(default=3, ge=1, le=1000)
    """Tasks that must have asked for an image."""
