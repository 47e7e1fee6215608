"""Which released images are prewarmed, and where: the operator's rules.

    us-docker.pkg.dev/acme/shop/web      this repository, any tag or none
    us-docker.pkg.dev/acme/shop/*        every repository directly below
    us-docker.pkg.dev/acme/**            and below those, too
    us-docker.pkg.dev/acme/**:v?.*       only under tags that match

`*` stands for characters other than `/`, `**` for any, `?` for one other than `/`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from ips_common.models.release import Release, ReleasedImage, TaskRequest
from ips_common.models.task import TaskSpec
from ips_common.ports.store import IdempotencyKey

DIGEST_LIFE = timedelta(days=30)
"""How long a rule remembers an image: as long as the image's task is kept."""

_CHARACTERS = re.compile(r"[A-Za-z0-9._*?/:\[\]-]+")
_WILDCARD = re.compile(r"\*\*|\*|\?")
_REGEXES = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def check_pattern(pattern: str) -> str:
    """Return a pattern if it can match an image.

    Raises:
        ValueError: it cannot; the message says why.
    """
    if "@" in pattern:
        raise ValueError(f"{pattern!r}: images are matched by name and tag, not by digest")
    if not _CHARACTERS.fullmatch(pattern):
        raise ValueError(f"{pattern!r} is not registry/repository[:tag] with the wildcards *, ** and ?")
    name, colon, tag = _split(pattern)
    registry, slash, path = name.partition("/")
    if (colon and not tag) or ("**" not in name and not (slash and path)):
        raise ValueError(f"{pattern!r} is not registry/repository[:tag]; ** stands for all of them")
    if "**" not in name and not (_WILDCARD.search(registry) or re.search(r"[.:]|^localhost$", registry)):
        raise ValueError(f"{pattern!r} must begin with a registry, e.g. docker.io/library/nginx")
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(check_pattern)]


class ReleaseRule(TaskSpec):
    """A task request with patterns in the place of images, and a name."""

    name: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")
    """Stands in `createdBy` and logs, and keeps the tasks of several rules for one image apart."""
    images: tuple[Pattern, ...] = Field(min_length=1, max_length=100, strict=False)
    """Which released images the rule is for."""

    @field_validator("images")
    @classmethod
    def _distinct(cls, images: tuple[str, ...]) -> tuple[str, ...]:
        """Take the place of the check of a task's images: patterns need not be references."""
        return images

    def matches(self, image: ReleasedImage) -> bool:
        """Whether the rule is for this image, by its name or under one of its tags."""
        return any(_matches(pattern, image) for pattern in self.images)

    def task(self, image: ReleasedImage) -> TaskSpec:
        """Return the task that prewarms this image."""
        fields = self.model_dump(by_alias=True, exclude={"name", "images"})
        return TaskSpec.model_validate(fields | {"images": (image.reference,)})


@dataclass(frozen=True, slots=True)
class Order:
    """A task that is to be made once, however often it is ordered."""

    created_by: str
    spec: TaskSpec
    key: IdempotencyKey


def orders(rules: Sequence[ReleaseRule], release: Release) -> tuple[Order, ...]:
    """Return the tasks for a release: one for each rule and each image that it is for.

    One image each, because the same image may be announced alone by its registry and with others by its build.
    """
    return tuple(
        Order(f"release:{rule.name}", rule.task(image), _key(rule, release, image))
        for image in release.images
        for rule in rules
        if rule.matches(image)
    )


def order(request: TaskRequest) -> Order:
    """Return the task that is asked for."""
    content = request.spec.model_dump_json(by_alias=True)
    return Order("release", request.spec, IdempotencyKey(_hashed("request", request.event_id), _hashed(content)))


def check_rules(rules: Iterable[ReleaseRule], clusters: Collection[str]) -> None:
    """Check what rules must keep to among themselves and with the configured clusters.

    Raises:
        ValueError: two have the same name, or one has a cluster that is not configured.
    """
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            raise ValueError(f"IPS_RELEASE_RULES: the name {rule.name} is there twice")
        seen.add(rule.name)
        if rule.cluster not in clusters:
            raise ValueError(
                f"IPS_RELEASE_RULES: {rule.name}: cluster {rule.cluster} is not configured; "
                f"there are: {', '.join(clusters)}"
            )


def _key(rule: ReleaseRule, release: Release, image: ReleasedImage) -> IdempotencyKey:
    """Name the task of a rule by the image's digest, or by the event if it does not say the digest."""
    event = () if image.digest else (release.topic.value, release.event_id)
    name = _hashed("rule", rule.name, image.reference, *event)
    # The rule may have been changed between two announcements; the first task stands.
    return IdempotencyKey(name, name, DIGEST_LIFE)


def _hashed(*parts: str) -> str:
    # The line feed keeps these keys apart from those of callers, which have none at their beginning.
    return f"\n{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def _matches(pattern: str, image: ReleasedImage) -> bool:
    name, colon, tag = _split(pattern)
    if not _compiled(name).fullmatch(image.name):
        return False
    return not colon or any(_compiled(tag).fullmatch(known) for known in image.tags)


def _split(pattern: str) -> tuple[str, str, str]:
    """Split a pattern into name, colon and tag; the colon of a registry's port is part of the name."""
    folder, slash, last = pattern.rpartition("/")
    name, colon, tag = last.partition(":")
    return f"{folder}{slash}{name}", colon, tag


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    end = 0
    for wildcard in _WILDCARD.finditer(pattern):
        parts += [re.escape(pattern[end : wildcard.start()]), _REGEXES[wildcard[0]]]
        end = wildcard.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))
