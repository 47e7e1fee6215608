"""Which images may be pulled: patterns over canonical references.

    ghcr.io/acme/shop            this repository, any tag or digest
    ghcr.io/acme/*               every repository directly below
    ghcr.io/acme/**              and below those, too
    *.pkg.dev/acme-prod/**       in any registry of this domain
    docker.io/library/nginx:1.*  tags that match
    ghcr.io/acme/**@sha256:*     only if pinned by digest

`*` stands for characters other than `/`, `**` for any; neither reaches from the registry into the path.
"""

import re
from collections.abc import Iterable, Sequence

from ips_common.errors import FieldError
from ips_common.models.image import parse_image

_PATTERN = re.compile(r"[A-Za-z0-9._*/:@+\[\]-]+")
_WILDCARD = re.compile(r"\*\*|\*")
_EVERYTHING = "**"


def check_pattern(pattern: str) -> str:
    """Return a pattern if it is one.

    Raises:
        ValueError: it is none, or may match more than it seems to; the message says why.
    """
    if pattern == _EVERYTHING:
        return pattern
    registry, slash, path = pattern.partition("/")
    if not _PATTERN.fullmatch(pattern) or not slash or not path:
        raise ValueError(f"{pattern!r} is not registry/repository[:tag][@digest]")
    if "**" in registry:
        raise ValueError(f"{pattern!r}: ** in the registry could match a path on any other; use *")
    if not ("." in registry or ":" in registry or registry == "localhost"):
        raise ValueError(f"{pattern!r} must begin with a registry, e.g. docker.io/library/nginx")
    return pattern


class AllowedImages:
    """The images that may be pulled; all of them if there are no patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Take in patterns.

        Raises:
            ValueError: one is none.
        """
        self._patterns = tuple(_compile(check_pattern(pattern)) for pattern in patterns)

    def allow(self, image: str) -> bool:
        """Whether a reference, however it is spelled, matches a pattern.

        Raises:
            ValueError: it is not a valid reference.
        """
        if not self._patterns:
            return True
        canonical = parse_image(image).canonical
        return any(pattern.fullmatch(canonical) for pattern in self._patterns)

    def errors(self, images: Sequence[str]) -> tuple[FieldError, ...]:
        """Name every image that may not be pulled, as `images[i]`; a task has to do without them."""
        return tuple(
            FieldError(f"images[{index}]", f"{parse_image(image).canonical} is not allowed here (IPS_ALLOWED_IMAGES)")
            for index, image in enumerate(images)
            if not self.allow(image)
        )


def _compile(pattern: str) -> re.Pattern[str]:
    if pattern == _EVERYTHING:
        return re.compile(".*")
    name = pattern.rpartition("/")[2]
    tagged = "@" in name or ":" in name
    return re.compile(_translate(pattern) + ("" if tagged else "(?::[^/@]+|@[^/]+)"))


def _translate(pattern: str) -> str:
    parts = []
    last = 0
    for wildcard in _WILDCARD.finditer(pattern):
        parts.append(re.escape(pattern[last : wildcard.start()]))
        parts.append("[^@:]*" if wildcard[0] == "**" else "[^/@:]*")
        last = wildcard.end()
    return "".join(parts) + re.escape(pattern[last:])
