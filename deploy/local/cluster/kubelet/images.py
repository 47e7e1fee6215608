"""Registries: which images there are, how big and how slow they are, and how containerd words their refusals."""

import hashlib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from deploy.local.cluster.scenario import ImageRule

MIB = 1024 * 1024
_LEAST_MIB, _MOST_MIB = 20, 200
_WORDS = {"missing": "missing", "denied": "denied", "ratelimited": "rate_limited", "unreachable": "unreachable"}
_SMALL = {"busybox": 2.0, "pause": 0.5}
_REFERENCE = re.compile(
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image as a registry offers it; `name` is the whole reference and `error` why a pull of it fails."""

    reference: str
    name: str
    repository: str
    digest: str
    size: int
    seconds: float | None = None
    error: str | None = None
    fails: int = 0
    runs: float | Literal["forever"] = 0.0
    exit_code: int = 0

    @property
    def image_id(self) -> str:
        """What the kubelet reports once the image is there."""
        return f"{self.repository}@{self.digest}"


def repository_of(reference: str) -> str:
    """The reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def canonical(reference: str) -> str:
    """The reference with what it leaves out: `nginx` is `docker.io/library/nginx:latest`."""
    host, slash, path = reference.partition("/")
    if not slash:
        reference = f"docker.io/library/{reference}"
    elif "." not in host and ":" not in host and host != "localhost":
        reference = f"docker.io/{reference}"
    elif host == "docker.io" and "/" not in path:
        reference = f"docker.io/library/{path}"
    tagged = "@" in reference or ":" in reference.rpartition("/")[2]
    return reference if tagged else f"{reference}:latest"


def is_valid(reference: str) -> bool:
    """Whether the kubelet can parse the reference at all."""
    return _REFERENCE.fullmatch(reference) is not None


class Registry:
    """All registries of the world."""

    def __init__(self, rules: list[ImageRule]) -> None:
        self._rules = rules
        self._known: dict[str, Image] = {}

    def set_rules(self, rules: list[ImageRule]) -> None:
        """Put rules before the ones there are; the first that says something about a property decides."""
        self._rules = [*rules, *self._rules]
        self._known.clear()

    def image(self, reference: str) -> Image:
        """What a pull of the reference meets."""
        found = self._known.get(reference)
        if found is None:
            found = self._known[reference] = self._resolve(reference)
        return found

    def _resolve(self, reference: str) -> Image:
        repository, name = repository_of(reference), canonical(reference)
        settings = _from_name(repository)
        # The first rule decides, so it is applied last; any rule outdoes what the name says.
        for rule in reversed(self._rules):
            if any(fnmatchcase(one, rule.pattern) for one in (reference, repository, name)):
                settings |= rule.model_dump(exclude_none=True, exclude={"pattern"})
        # The short form of a name is the same image.
        hashed = hashlib.sha256(name.removeprefix("docker.io/library/").encode()).hexdigest()
        mib = settings.get("size_mib", _LEAST_MIB + int(hashed[:8], 16) % (_MOST_MIB - _LEAST_MIB + 1))
        pinned = reference.partition("@")[2]
        return Image(
            reference=reference,
            name=name,
            repository=repository,
            digest=pinned or settings.get("digest") or f"sha256:{hashed}",
            size=int(mib * MIB),
            seconds=settings.get("seconds"),
            error=_error(name, settings),
            fails=settings.get("fails", 0),
            runs=settings.get("runs", 0.0),
            exit_code=settings.get("exit_code", 0),
        )


def _from_name(repository: str) -> dict[str, Any]:
    """What a repository's name says by itself, so that most tests need no scenario file."""
    settings: dict[str, Any] = {flag: True for word, flag in _WORDS.items() if word in repository}
    if "flaky" in repository:
        settings["fails"] = 1
    if slow := re.search(r"slow(\d+)", repository):
        settings["seconds"] = float(slow[1])
    base = repository.rpartition("/")[2]
    if base in _SMALL:
        settings["size_mib"] = _SMALL[base]
    if base == "pause":
        settings["runs"] = "forever"
    return settings


def _error(name: str, settings: dict[str, Any]) -> str | None:
    """Why containerd cannot pull, in its words."""
    host, _, path = repository_of(name).partition("/")
    pulling = f'failed to pull and unpack image "{name}": '
    resolving = f'{pulling}failed to resolve reference "{name}": '
    if settings.get("missing"):
        return f"{resolving}{name}: not found"
    if settings.get("denied"):
        return (
            f"{resolving}pull access denied, repository does not exist or may require authorization: "
            "authorization failed: no basic auth credentials"
        )
    if settings.get("rate_limited"):
        return (
            f"{pulling}failed to copy: httpReadSeeker: failed open: unexpected status code "
            f"https://{host}/v2/{path}/manifests/latest: 429 Too Many Requests - "
            "Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. "
            "https://www.docker.com/increase-rate-limit"
        )
    if settings.get("unreachable"):
        return f'{resolving}failed to do request: Head "https://{host}/v2/": dial tcp: lookup {host}: no such host'
    return None


def flaky_error(image: Image) -> str:
    """A failure that heals: the connection breaks while layers are copied."""
    return (
        f'failed to pull and unpack image "{image.name}": failed to copy: httpReadSeeker: failed open: '
        "failed to do request: unexpected EOF"
    )


def no_space_error(image: Image) -> str:
    """The node's disk is full."""
    layer = image.digest.removeprefix("sha256:")
    return (
        f'failed to pull and unpack image "{image.name}": failed to extract layer sha256:{layer}: '
        "write /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs: no space left on device"
    )
