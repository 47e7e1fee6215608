"""What the tests of a release share: clones, an interpreter, servers."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from deploy.local.parts import ROOT
from deploy.local.ports import HOST, Ports
from deploy.local.process import Process
from deploy.local.readiness import answers, wait_ready
from deploy.local.warden import Warden
from deploy.release.allowlist import IGNORE_FILE, deployed
from tests.deploy.release import runtime

PROJECT = {
    "GOOGLE_CLOUD_PROJECT": "test-release",
    # Nothing listens there, and nothing is asked there before there is work; but now no credentials are looked for.
    "FIRESTORE_EMULATOR_HOST": f"{HOST}:1",
    "PUBSUB_EMULATOR_HOST": f"{HOST}:1",
}
"""The least that the functions want to be told."""


class Start(Protocol):
    """Starts a server on a port of its own, with no other environment than what it is given."""

    def __call__(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[Process, int]:
        """Return the process and its port at once; `wait_until_healthy` waits for it."""
        ...


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the locked packages and nothing else."""
    return runtime.make(tmp_path_factory.mktemp("runtime") / "venv")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers that end with the test."""
    ports, started = Ports(), list[Process]()
    warden = Warden(tmp_path / "warden")

    def run(name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[Process, int]:
        port = ports.free()
        process = Process(
            name, command, env={**env, "PORT": str(port)}, cwd=cwd, log=tmp_path / f"{name}.log", warden=warden
        )
        process.start()
        started.append(process)
        return process, port

    yield run
    for process in started:
        process.kill()
    ports.release()
    warden.dismiss()


def wait_until_healthy(process: Process, port: int) -> None:
    """Wait until the server says that it is well."""
    wait_ready(process, answers(port, "/health", below=300), 60, threading.Event())


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as somebody who may commit."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        **{f"GIT_{who}_{what}": "release@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def project(commit: Path, tmp_path: Path) -> Path:
    """A repository with one commit, which the test may change."""
    return shutil.copytree(commit, tmp_path / "project")


@pytest.fixture(scope="session")
def commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit: what is deployed, and some of what is not."""
    root = tmp_path_factory.mktemp("commit")
    for file in (*deployed(ROOT), IGNORE_FILE, ".gitignore", "README.md", "deploy/Dockerfile"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes((ROOT / file).read_bytes())
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all of it")
    git(root, "repack", "--quiet", "-a", "-d")
    return root
