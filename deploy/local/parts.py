"""What a stack is made of: each part a process, its condition of readiness and where it answers."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.emulator import Emulator, command, find_jar
from deploy.local.errors import StackError
from deploy.local.java import find_java
from deploy.local.ports import HOST, Ports
from deploy.local.process import Process
from deploy.local.readiness import Condition, accepts, answers, wait_ready
from deploy.local.warden import Warden
from ips_common.topology import Function

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ips"

_READY_TIMEOUT_S = 30.0

# More requests at once than any function's concurrency would queue in front of the function, unlike on Cloud Run.
_THREADS = 32


@dataclass(frozen=True)
class Part:
    """One part of the stack."""

    process: Process
    ready: Condition
    where: str
    restart: bool = False

    @property
    def name(self) -> str:
        """The part's name, the same in lines, logs and calls."""
        return self.process.name

    def wait(self, abandon: threading.Event) -> None:
        """Wait until the part is ready.

        Raises:
            StackError: It ended or took too long, or `abandon` was set.
        """
        wait_ready(self.process, self.ready, _READY_TIMEOUT_S, abandon)


def emulator_part(emulator: Emulator, *, java: Path, port: int, logs: Path, warden: Warden) -> Part:
    """An emulator on `port`.

    Raises:
        StackError: The emulator is nowhere to be found.
    """
    process = Process(
        emulator.name,
        command(emulator, java, find_jar(emulator, CACHE), port),
        env=os.environ,
        cwd=logs,
        log=logs / f"{emulator.name}.log",
        warden=warden,
    )
    return Part(process, answers(port, "/"), f"{HOST}:{port}")


def cluster_part(*, folder: Path, nodes: int, port: int, scenario: Path | None, logs: Path, warden: Warden) -> Part:
    """The simulated cluster on `port`, with its kubeconfig in `folder`."""
    arguments = ["--dir", str(folder), "--nodes", str(nodes), "--port", str(port)]
    if scenario:
        arguments += ["--scenario", str(scenario)]
    process = Process(
        "cluster",
        [sys.executable, "-m", "deploy.local.cluster", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        log=logs / "cluster.log",
        warden=warden,
    )
    return Part(process, (folder / "ready.json").exists, f"https://{HOST}:{port}, {nodes} nodes")


def function_part(
    name: str,
    function: Function,
    *,
    source: Path,
    port: int,
    env: Mapping[str, str],
    scratch: Path,
    logs: Path,
    warden: Warden,
) -> Part:
    """A function behind functions-framework on `port`, as the deployed one runs.

    Raises:
        StackError: There is no file `source`.
    """
    if not source.is_file():
        raise StackError(f"function {name} of infra/topology.yaml has no {source}")
    # The server keeps a socket in its runtime directory; in a shared one the functions would fight for its name.
    runtime = scratch / name
    runtime.mkdir(mode=0o700)
    arguments = ["--target", name, "--source", str(source), "--host", HOST, "--port", str(port)]
    process = Process(
        name,
        [sys.executable, "-m", "functions_framework", *arguments],
        env={
            **env,
            "IPS_FUNCTION": name,
            "PYTHONPATH": str(ROOT),
            "THREADS": str(_THREADS),
            "WORKERS": "1",
            "CLOUD_RUN_TIMEOUT_SECONDS": str(function.timeout_seconds),
            "XDG_RUNTIME_DIR": str(runtime),
        },
        cwd=ROOT,
        log=logs / f"{name}.log",
        warden=warden,
    )
    path = "/health" if function.trigger == "http" else "/"
    return Part(process, answers(port, path), f"http://{HOST}:{port}", restart=True)


def existing_emulator(emulator: Emulator) -> str | None:
    """The host of an emulator that the environment names and that answers; none where none is named.

    Raises:
        StackError: One is named but nothing answers there.
    """
    host = os.environ.get(emulator.variable)
    if not host:
        return None
    address, _, port = host.rpartition(":")
    if not port.isdigit() or not accepts(int(port), address.strip("[]") or HOST)():
        raise StackError(
            f"{emulator.variable} names {host}, where nothing answers: start it, or unset {emulator.variable}"
        )
    return host


@contextlib.contextmanager
def running_emulator(emulator: Emulator, folder: Path) -> Iterator[str]:
    """Run one emulator by itself, or use the one that the environment names; yields `address:port`.

    Raises:
        StackError: It cannot be found or started.
    """
    host = existing_emulator(emulator)
    if host:
        yield host
        return
    with contextlib.ExitStack() as cleanup:
        ports = Ports()
        cleanup.callback(ports.release)
        warden = Warden(folder / "scratch")
        cleanup.callback(warden.dismiss)
        part = emulator_part(emulator, java=find_java(), port=ports.free(), logs=folder, warden=warden)
        cleanup.callback(part.process.kill)
        part.process.start()
        part.wait(threading.Event())
        yield part.where
