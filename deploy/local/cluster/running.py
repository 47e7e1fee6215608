"""A simulated cluster in another process: where it is, how to start one and how to command it."""

import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

READY = "ready.json"
_REPOSITORY = Path(__file__).parents[3]
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_COMMAND_SECONDS = 10.0


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

    def command(self, name: str, body: dict[str, Any] | None = None) -> Any:
        """Give the simulation one of its own commands; without a body, read what it has to say.

        Raises:
            RuntimeError: it was refused.
        """
        address = urlsplit(self.url)
        tls = ssl.create_default_context(cafile=str(self.authority))
        host, port = address.hostname or "", address.port
        connection = http.client.HTTPSConnection(host, port, context=tls, timeout=_COMMAND_SECONDS)
        method, content = ("GET", None) if body is None else ("POST", json.dumps(body))
        try:
            connection.request(method, f"/sim/{name}", content, {"Authorization": f"Bearer {self.token()}"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(answer.get("message", answer))
        return answer


def reach(directory: Path) -> RunningCluster:
    """The cluster that keeps its files in `directory`.

    Raises:
        FileNotFoundError: none is ready there.
    """
    found = json.loads((directory / READY).read_bytes())
    return RunningCluster(directory, found["url"], found["pid"])


@contextlib.contextmanager
def running_cluster(
    directory: Path, *, nodes: int, scenario: Path | None = None, seed: int = 0
) -> Iterator[RunningCluster]:
    """Start a cluster that keeps its files in `directory`, and stop it at the end.

    Raises:
        RuntimeError: it does not come up; its output is in the message.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ready = directory / READY
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
        yield reach(directory)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
