"""A simulated cluster as a child process, for tests and measurements."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

_REPOSITORY = Path(__file__).parents[3]
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """Where a cluster can be reached, and how."""

    directory: Path
    url: str
    pid: int

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig with the contexts `admin` and `ips`."""
        return self.directory / "kubeconfig"

    @property
    def authority(self) -> Path:
        """The certificate to trust."""
        return self.directory / "ca.crt"

    def token(self, user: str = "admin") -> str:
        """A user's present token."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        return next(str(one["user"]["token"]) for one in config["users"] if one["name"] == user)


@contextlib.contextmanager
def running_cluster(
    directory: Path, *, nodes: int, scenario: Path | None = None, seed: int = 0
) -> Iterator[RunningCluster]:
    """Start a cluster that keeps its files in `directory`, and stop it at the end.

    Raises:
        RuntimeError: it does not come up; its output is in the message.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ready = directory / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "deploy.local.cluster", "--dir", str(directory), "--nodes", str(nodes)]
    command += ["--seed", str(seed), *(["--scenario", str(scenario)] if scenario else [])]
    log = directory / "cluster.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=_REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the simulated cluster did not start:\n{log.read_text()}")
            time.sleep(0.02)
        found = json.loads(ready.read_bytes())
        yield RunningCluster(directory, found["url"], found["pid"])
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
