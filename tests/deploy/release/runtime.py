"""An interpreter that has the packages of requirements.txt and nothing else of this machine."""

import subprocess
import sys
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path, PurePath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.local.parts import ROOT


def requirements() -> set[str]:
    """The locked packages that are for this machine."""
    lines = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line[:1].isalnum()]
    locked = [Requirement(line.rstrip(" \\")) for line in lines]
    return {canonicalize_name(each.name) for each in locked if each.marker is None or each.marker.evaluate()}


def make(folder: Path) -> Path:
    """Make a virtual environment in `folder` out of links to the packages that are installed already."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    wanted = requirements()
    owners: defaultdict[PurePath, set[str]] = defaultdict(set)
    files: dict[PurePath, Path] = {}
    for distribution in distributions():
        name = canonicalize_name(distribution.name)
        for file in distribution.files or ():
            for place in _places(file):
                owners[place].add(name)
            if name in wanted:
                files[file] = Path(str(file.locate()))
    assert {name for file in files for name in owners[file]} == wanted
    for path, source in files.items():
        if path.parts[0] == "..":
            if path.parts[-2] == "bin":
                _script(source.resolve(), python)
        else:
            # The highest folder that is one package's alone; `google` is many's.
            place = next(each for each in _places(path) if len(owners[each]) == 1)
            _link(site / place, [*source.parents[::-1], source][len(place.parts) - len(path.parts) - 1])
    return python


def _places(file: PurePath) -> list[PurePath]:
    """The folders that a file is in, from the highest on, and itself."""
    return [*reversed(list(file.parents)[:-1]), file]


def _link(target: Path, source: Path) -> None:
    if not target.is_symlink() and source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.resolve())


def _script(source: Path, python: Path) -> None:
    """Copy a package's command, so that it is run by that interpreter."""
    script = python.with_name(source.name)
    script.write_text(f"#!{python}\n" + source.read_text("utf-8").partition("\n")[2], "utf-8")
    script.chmod(0o755)
