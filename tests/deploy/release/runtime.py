"""An interpreter that has the packages of requirements.txt and nothing else of this machine."""

import subprocess
import sys
from importlib.metadata import PackagePath, distribution
from pathlib import Path

from packaging.requirements import Requirement

from deploy.local.parts import ROOT


def requirements() -> list[str]:
    """The locked packages that are for this machine."""
    lines = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line[:1].isalnum()]
    locked = [Requirement(line.rstrip(" \\")) for line in lines]
    return [each.name for each in locked if each.marker is None or each.marker.evaluate()]


def make(folder: Path) -> Path:
    """Make a virtual environment in `folder` out of links to the packages that are installed already."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    made: set[Path] = set()
    for name in requirements():
        for file in distribution(name).files or ():
            _link(file, site, python, made)
    return python


def _link(file: PackagePath, site: Path, python: Path, made: set[Path]) -> None:
    source = Path(file.locate()).resolve()
    if not source.exists():
        return
    if ".." in file.parts:
        if file.parts[-2] == "bin":
            script = python.with_name(file.name)
            script.write_text(f"#!{python}\n" + source.read_text("utf-8").partition("\n")[2], "utf-8")
            script.chmod(0o755)
        return
    target = site / file
    if target.parent not in made:
        target.parent.mkdir(parents=True, exist_ok=True)
        made.add(target.parent)
    if not target.exists():
        target.symlink_to(source)
