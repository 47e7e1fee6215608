"""The files of a stack: `.local/<name>/` in the repository for what a person reads, a short path for sockets."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_KEPT = 10
_STATE = "stack.json"


@dataclass(frozen=True)
class Folders:
    """Where one stack keeps its files."""

    top: Path
    logs: Path
    cluster: Path
    scratch: Path

    @classmethod
    def create(cls, base: Path, name: str) -> Self:
        """Make the folders of the stack `name` below `base`, and drop those of long gone stacks."""
        _prune(base)
        top = base / name
        # The scratch folder holds sockets, whose paths the system limits to about 100 bytes.
        folders = cls(top, top / "logs", top / "cluster", Path(tempfile.mkdtemp(prefix="ips-")))
        folders.logs.mkdir(parents=True)
        folders.cluster.mkdir()
        folders.describe({})
        return folders

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Write what other programs may want to know of the stack, its process id above all."""
        text = json.dumps({"pid": os.getpid(), **facts}, indent=2)
        (self.top / _STATE).write_text(f"{text}\n", encoding="utf-8")


def _prune(base: Path) -> None:
    stacks = sorted((path for path in base.glob(f"*/{_STATE}")), key=lambda path: path.stat().st_mtime, reverse=True)
    for state in stacks[_KEPT:]:
        if not _runs(state):
            shutil.rmtree(state.parent, ignore_errors=True)


def _runs(state: Path) -> bool:
    try:
        os.kill(int(json.loads(state.read_text(encoding="utf-8"))["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return False
    return True
