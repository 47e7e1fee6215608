"""What carries work between the functions: the frozen models of `infra/topology.yaml`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic.alias_generators import to_camel

Name = str
Seconds = int


class TopologyError(ValueError):
    """The topology file cannot be read, or contradicts itself; the message names the place."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class Function(_Model):
    """One deployed function; the key in `functions` is its folder and entry point."""

    trigger: Literal["http", "pubsub"]
    timeout_seconds: Seconds = Field(gt=0, le=3600)
    memory_mi_b: int = Field(alias="memoryMiB", gt=0)
    concurrency: int = Field(gt=0)
    min_instances: int = Field(ge=0)
    max_instances: int = Field(gt=0)


class Topic(_Model):
    """A Pub/Sub topic."""

    name: Name


class Retry(_Model):
    """How long Pub/Sub waits between deliveries of a message that was not acknowledged."""

    minimum_backoff_seconds: Seconds = Field(ge=0, le=600)
    maximum_backoff_seconds: Seconds = Field(ge=0, le=600)


class DeadLetter(_Model):
    """Where a message goes when its deliveries are used up."""

    topic: Name
    max_delivery_attempts: int = Field(ge=5, le=100)


class Subscription(_Model):
    """A push subscription, from a topic straight to a function."""

    name: Name
    topic: Name
    function: Name
    ack_deadline_seconds: Seconds = Field(ge=10, le=600)
    retention_seconds: Seconds = Field(ge=600, le=604800)
    retry: Retry
    dead_letter: DeadLetter | None = None


class Schedule(_Model):
    """A message published at the times of a cron expression, in UTC."""

    name: Name
    schedule: str
    topic: Name
    message: dict[str, JsonValue]


class Topology(_Model):
    """The whole file, with every name in it resolved."""

    functions: dict[Name, Function]
    topics: tuple[Topic, ...]
    subscriptions: tuple[Subscription, ...]
    schedules: tuple[Schedule, ...] = ()

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        topics = {topic.name for topic in self.topics}
        problems = [
            *_twice("topic", (topic.name for topic in self.topics)),
            *_twice("subscription", (subscription.name for subscription in self.subscriptions)),
            *_twice("schedule", (schedule.name for schedule in self.schedules)),
        ]
        for subscription in self.subscriptions:
            used = [subscription.topic, *([subscription.dead_letter.topic] if subscription.dead_letter else [])]
            problems += [f"{subscription.name}: no topic {name}" for name in used if name not in topics]
            function = self.functions.get(subscription.function)
            if function is None:
                problems.append(f"{subscription.name}: no function {subscription.function}")
            elif function.trigger != "pubsub":
                problems.append(f"{subscription.name}: {subscription.function} is not triggered by pubsub")
        problems += [
            f"{schedule.name}: no topic {schedule.topic}" for schedule in self.schedules if schedule.topic not in topics
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _twice(kind: str, names: Iterable[Name]) -> list[str]:
    seen: set[Name] = set()
    repeated: list[Name] = []
    for name in names:
        if name in seen and name not in repeated:
            repeated.append(name)
        seen.add(name)
    return [f"{kind} {name} is there twice" for name in repeated]


def load_topology(path: Path) -> Topology:
    """Read and check the topology file at `path`.

    Raises:
        TopologyError: The file is missing, is no YAML, or does not hold together.
    """
    try:
        return Topology.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TopologyError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TopologyError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise TopologyError(f"{path}: {'; '.join(_sentence(error))}") from error


def _sentence(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}" if detail["loc"] else detail["msg"]
        for detail in error.errors(include_url=False)
    ]
