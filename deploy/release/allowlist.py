"""Which files are deployed: what `.dockerignore` lets through, and nothing else.

That file is the only list, because container builders read no other. It begins with `**`, which keeps everything out,
and each of its other lines lets something in.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.release.errors import ReleaseError

IGNORE_FILE = ".dockerignore"
_MADE_BY_PYTHON = "__pycache__"


def patterns(root: Path) -> tuple[str, ...]:
    """Return the patterns of the files that are deployed.

    Raises:
        ReleaseError: the list does not keep out by itself what it does not name.
    """
    lines = [line.strip() for line in (root / IGNORE_FILE).read_text("utf-8").splitlines()]
    first, *rest = [line for line in lines if line and not line.startswith("#")] or [""]
    if first != "**" or not rest or not all(line.startswith("!") for line in rest):
        raise ReleaseError(f"{IGNORE_FILE} must be a line ** and then lines that begin with !, as it is an allow-list")
    return tuple(line.removeprefix("!") for line in rest)


def matches(pattern: str, path: str) -> bool:
    """Whether a builder takes a file for what the pattern names; both are relative, with slashes."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    expression = "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*)", pattern))
    return re.fullmatch(expression, path) is not None


def deployed(root: Path) -> tuple[str, ...]:
    """Return the files that are deployed, sorted, relative to `root`.

    Raises:
        ReleaseError: beside them lies a file that is not to be deployed, or one of the patterns names nothing.
    """
    allowed = patterns(root)
    files = sorted(_below(root, allowed))
    strange = [file for file in files if not any(matches(pattern, file) for pattern in allowed)]
    if strange:
        raise ReleaseError(f"{IGNORE_FILE} does not let these through, and they must not lie there: {_list(strange)}")
    void = [pattern for pattern in allowed if not any(matches(pattern, file) for file in files)]
    if void:
        raise ReleaseError(f"{IGNORE_FILE} names what is not there: {_list(void)}")
    links = [file for file in files if (root / file).is_symlink()]
    if links:
        raise ReleaseError(f"links may lead out of the project: {_list(links)}")
    return tuple(files)


def _below(root: Path, allowed: Sequence[str]) -> Iterator[str]:
    """Yield every file in the folders that the patterns name, whether or not they match it."""
    for pattern in allowed:
        top, _, rest = pattern.partition("/")
        if not rest:
            if (root / top).exists():
                yield top
            continue
        for folder, names, files in os.walk(root / top):
            names[:] = [name for name in names if name != _MADE_BY_PYTHON]
            links = [name for name in names if (Path(folder) / name).is_symlink()]
            yield from ((Path(folder) / name).relative_to(root).as_posix() for name in [*files, *links])


def _list(files: Sequence[str]) -> str:
    shown = ", ".join(files[:10])
    return shown if len(files) <= 10 else f"{shown} and {len(files) - 10} more"
