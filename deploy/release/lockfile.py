"""`requirements.txt` as data: what is locked, and what asked for it."""

import re
from dataclasses import dataclass

from deploy.release.errors import ReleaseError

PROJECT = "ips"

_PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)(\s*;)?")
_FILE = re.compile(r"\s*\([^)]*\)")


@dataclass(frozen=True)
class Locked:
    """One locked package.

    Attributes:
        name: as the index writes it, in lower case with hyphens.
        version: the only version that is installed.
        everywhere: whether it is installed on every platform and Python.
        wanted_by: the packages that depend on it; `ips` is the project itself.
    """

    name: str
    version: str
    everywhere: bool
    wanted_by: tuple[str, ...]


def parse(text: str) -> tuple[Locked, ...]:
    """Return the locked packages, sorted by name.

    Raises:
        ReleaseError: a package is there twice, or nothing says what asked for it.
    """
    found: dict[str, Locked] = {}
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    for block in blocks:
        head = _PACKAGE.match(block)
        if not head:
            continue
        name = _canonical(head[1])
        comments = " ".join(line.strip().lstrip("# ") for line in block.splitlines() if line.strip().startswith("#"))
        wanted_by = _FILE.sub("", comments.removeprefix("via")).replace(",", " ").split()
        if name in found or not wanted_by:
            raise ReleaseError(f"{name} is locked twice, or without what asked for it: make requirements")
        found[name] = Locked(name, head[2], head[3] is None, tuple(sorted({_canonical(each) for each in wanted_by})))
    return tuple(found[name] for name in sorted(found))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
