import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.parts import ROOT
from deploy.local.ports import HOST
from deploy.release.allowlist import matches, patterns
from deploy.release.package import build
from ips_common import __version__
from tests.deploy.release.conftest import PROJECT, Start, wait_until_healthy
from tests.deploy.release.dockerfile import Dockerfile, Stage, Step, parse

DOCKERFILE = parse(ROOT / "deploy" / "Dockerfile")
BUILD, FINAL = DOCKERFILE.stages
GRACE_SECONDS = 10
"""Between SIGTERM and SIGKILL on Cloud Run; Kubernetes gives 30."""


@dataclass(frozen=True)
class Image:
    """What the build left in a folder that stands for the root of a container's file system."""

    root: Path

    def inside(self, text: str) -> str:
        """The text with the container's paths as they are on this machine."""
        return text.replace("/opt/ips", f"{self.root}/opt/ips").replace("/dev/shm", f"{self.root}/dev/shm")

    def environment(self) -> dict[str, str]:
        return {name: self.inside(value) for name, value in FINAL.environment().items()}

    @property
    def app(self) -> Path:
        return Path(self.inside(FINAL.one("WORKDIR").text))

    def command(self, *arguments: str) -> list[str]:
        entry, default = FINAL.one("ENTRYPOINT"), FINAL.one("CMD")
        return [*entry.command(), *(arguments or default.command())]

    def files(self) -> dict[str, tuple[int, int]]:
        below = self.root / "opt"
        found = (Path(folder) / name for folder, _, names in os.walk(below) for name in names)
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in found}


def context(project: Path) -> list[str]:
    """What a builder sends: every file that the ignore file lets through."""
    files = [path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()]
    return [file for file in files if any(matches(pattern, file) for pattern in patterns(project))]


def copy(step: Step, project: Path, workdir: Path) -> None:
    source, target = step.text.split()
    assert target.startswith("./")
    files = [file for file in context(project) if file == source or file.startswith(f"{source}/")]
    assert files, f"the builder finds no {source}"
    for file in files:
        to = workdir / target / Path(file).relative_to(source) if file != source else workdir / file
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / file, to)


def built(project: Path, python: Path, root: Path, version: str = __version__) -> Image:
    """Run the steps of the build, except that packages are linked instead of downloaded and not compiled again."""
    image = Image(root)
    workdir = Path(image.inside(BUILD.one("WORKDIR").text))
    workdir.mkdir(parents=True)
    (root / "dev" / "shm").mkdir(parents=True)
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "VERSION": version}
    for step in BUILD.steps:
        if step.name == "COPY":
            copy(step, project, workdir)
        elif step.name == "RUN" and " -m pip " in step.text:
            site = next((root / "opt/ips/venv/lib").glob("python*/site-packages"))
            shutil.copytree(
                next((python.parents[1] / "lib").glob("python*/site-packages")), site, symlinks=True, dirs_exist_ok=True
            )
            script = python.with_name("functions-framework").read_text("utf-8")
            target = root / "opt/ips/venv/bin/functions-framework"
            target.write_text(script.replace(str(python), str(target.with_name("python"))), "utf-8")
            target.chmod(0o755)
        elif step.name == "RUN":
            command = image.inside(step.text)
            if "compileall" in command:
                assert command.endswith(f" {root}/opt/ips")
                command += "/app"
            subprocess.run(["sh", "-c", command], cwd=workdir, env=env, check=True, capture_output=True, text=True)
        else:
            assert step.name in {"WORKDIR", "ARG"}
    return image


@pytest.fixture
def image(project: Path, python: Path, tmp_path: Path) -> Image:
    return built(project, python, tmp_path / "root")


def test_the_image_holds_what_the_package_holds(project: Path, image: Image, tmp_path: Path) -> None:
    for stray in (".env", "functions/api/.env", "ips_common/key.json", "terraform.tfstate", "deploy/secret.py"):
        (project / stray).write_text("secret")
    inside = {
        str(path.relative_to(image.app)) for path in image.app.rglob("*") if path.suffix != ".pyc" and path.is_file()
    }
    assert inside == set(context(project))
    for stray in ("functions/api/.env", "ips_common/key.json"):
        (project / stray).unlink()
    package = build(project, tmp_path / "dist")
    assert package.files == len(inside)
