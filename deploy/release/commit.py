"""Whether what lies in the work tree is what was committed."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.release.errors import ReleaseError


def uncommitted(root: Path, files: Sequence[str], belongs: Callable[[str], bool]) -> tuple[str, ...]:
    """Return which files are not as in the last commit: changed, new or gone; none where there is no history.

    Args:
        root: the work tree.
        files: those of it that matter.
        belongs: whether a committed file matters too.

    Raises:
        ReleaseError: git does not answer.
    """
    if not (root / ".git").exists():
        return ()
    committed = {file: blob for file, blob in _blobs(root).items() if belongs(file)}
    there = {file: _blob((root / file).read_bytes(), committed.get(file, "")) for file in files}
    return tuple(sorted(file for file in committed | there if committed.get(file) != there.get(file)))


def _blobs(root: Path) -> dict[str, str]:
    """Return the last commit's files and how git names their content."""
    done = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "HEAD"], cwd=root, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise ReleaseError(f"git cannot tell what is committed: {done.stderr.strip()}")
    entries = (entry.split("\t", 1) for entry in done.stdout.split("\0") if entry)
    return {file: about.split()[2] for about, file in entries}


def _blob(content: bytes, like: str) -> str:
    algorithm = "sha256" if len(like) == 64 else "sha1"
    return hashlib.new(algorithm, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
