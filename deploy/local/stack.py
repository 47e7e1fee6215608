"""The whole of IPS on this machine: emulators, cluster, functions, subscriptions and schedules."""

import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.console import Quiet, Reporter
from deploy.local.emulator import FIRESTORE, PUBSUB
from deploy.local.environment import function_environment, inherited_environment
from deploy.local.errors import StackError
from deploy.local.folders import Folders
from deploy.local.java import find_java
from deploy.local.messaging import Messaging
from deploy.local.parts import ROOT, Part, cluster_part, emulator_part, existing_emulator, function_part
from deploy.local.ports import Ports
from deploy.local.scheduler import Scheduler
from deploy.local.supervisor import Supervisor
from deploy.local.target import NAMESPACE, Target, external_target, simulated_target
from deploy.local.warden import Warden
from ips_common.topology import Topology, TopologyError, load_topology

_GRACE_S = 5.0


class Stack:
    """A running stack, as a context manager; everything it started is gone when it is left.

    Attributes:
        project: The project in both emulators, this stack's alone.
        env: The variables with which a client reaches the stack's parts.
        kubeconfig: For the cluster; the simulated one's current context is an administrator.
        cluster_url: The address of its API server.
        folders: The stack's files.
    """

    def __init__(
        self,
        *,
        nodes: int = 20,
        scenario: Path | None = None,
        env: Mapping[str, str] | None = None,
        function_env: Mapping[str, Mapping[str, str]] | None = None,
        functions_root: Path = ROOT / "functions",
        topology: Path = ROOT / "infra" / "topology.yaml",
        kubeconfig: Path | None = None,
        emulators: Mapping[str, str] | None = None,
        ports: Mapping[str, int] | None = None,
        autorestart: bool = True,
        reporter: Reporter | None = None,
    ) -> None:
        """Describe the stack; entering it starts it.

        Args:
            nodes: How many nodes the simulated cluster has.
            scenario: A file that tells the simulated cluster how to behave.
            env: Variables for every function, over those of this process.
            function_env: Variables by function, over `env`.
            functions_root: The folder that holds `<function>/main.py`.
            topology: The topology file.
            kubeconfig: A cluster to use, at its current context, instead of the simulated one.
            emulators: Hosts of emulators that run already, by emulator name.
            ports: Ports by part; the others are chosen.
            autorestart: Whether a function that ends is started again.
            reporter: Who hears of the progress.
        """
        self.project = f"ips-local-{secrets.token_hex(4)}"
        self.env: dict[str, str] = {}
        self._nodes = nodes
        self._scenario = scenario
        self._extra_env = {"*": dict(env or {}), **{name: dict(own) for name, own in (function_env or {}).items()}}
        self._functions_root = functions_root
        self._topology_file = topology
        self._external = kubeconfig
        self._emulators = dict(emulators or {})
        self._given_ports = dict(ports or {})
        self._reporter = reporter or Quiet()
        self._supervisor = Supervisor(self._reporter, autorestart=autorestart)
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start everything and wait until it is ready.

        Raises:
            StackError: Something is missing, or a part does not start.
        """
        try:
            self._start(_topology(self._topology_file))
        except BaseException:
            self.stop()
            raise
        finally:
            self._reporter.settle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def stop(self) -> None:
        """Stop everything; calling it again does nothing."""
        self._cleanup.close()

    @property
    def api_url(self) -> str:
        """The base URL of the function `api`."""
        return self.url("api")

    @property
    def autorestart(self) -> bool:
        """Whether a function that ends is started again."""
        return self._supervisor.autorestart

    @autorestart.setter
    def autorestart(self, value: bool) -> None:
        self._supervisor.autorestart = value

    def url(self, function: str) -> str:
        """The base URL of a function."""
        return self._supervisor.parts[function].where

    def pid(self, name: str) -> int | None:
        """The process id of a part, which is also its process group."""
        return self._supervisor.parts[name].process.pid

    def kill(self, name: str) -> None:
        """Kill a part with all its processes; a function comes back at once if `autorestart` is on."""
        self._supervisor.kill(name)

    def start(self, name: str) -> None:
        """Start a part that was killed, and wait until it is ready.

        Raises:
            StackError: It does not become ready.
        """
        self._supervisor.start(name)

    def logs(self, name: str) -> str:
        """All that a part has printed."""
        return (self.folders.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until a part ends for good, at most `timeout_s` seconds.

        Raises:
            StackError: One did.
        """
        self._supervisor.wait(timeout_s)

    def _start(self, topology: Topology) -> None:
        self.folders = Folders.create(ROOT / ".local", self.project)
        self._warden = Warden(self.folders.scratch)
        self._cleanup.callback(self._warden.dismiss)
        self._ports = Ports()
        self._cleanup.callback(self._ports.release)
        for name, port in self._given_ports.items():
            self._ports.check(port, f"IPS_{name.upper().replace('-', '_')}_PORT")
        self._cleanup.callback(self._supervisor.stop, _GRACE_S)

        emulators = self._emulator_parts()
        self._supervisor.launch(emulators)
        target = self._target()
        self.kubeconfig, self.cluster_url = target.kubeconfig, target.url
        self.env = function_environment(
            project=self.project,
            emulators=self._emulators,
            kubeconfig=target.kubeconfig,
            context=target.context,
            namespace=NAMESPACE,
        )
        functions = self._function_parts(topology)
        self._supervisor.launch(functions)
        self._supervisor.wait_ready([*emulators, *functions])

        messaging = Messaging(self._emulators[PUBSUB.name], self.project)
        messaging.create(topology, {part.name: part.where for part in functions})
        if not any(part.name == PUBSUB.name for part in emulators):
            self._cleanup.callback(self._withdraw, messaging, topology)
        scheduler = Scheduler(topology.schedules, messaging.publish, self.folders.logs / "scheduler.log")
        scheduler.start()
        self._cleanup.callback(scheduler.stop)
        self._reporter.ready("scheduler", f"{len(topology.schedules)} schedules of the topology, in UTC", 0)
        self._supervisor.watch()
        parts = self._supervisor.parts.values()
        self.folders.describe(
            {
                "project": self.project,
                "env": self.env,
                "parts": {part.name: {"pid": part.process.pid, "where": part.where} for part in parts},
            }
        )

    @staticmethod
    def _withdraw(messaging: Messaging, topology: Topology) -> None:
        # An emulator that is gone by now has nothing left to withdraw.
        with contextlib.suppress(StackError):
            messaging.delete(topology)

    def _emulator_parts(self) -> list[Part]:
        parts: list[Part] = []
        for emulator in (FIRESTORE, PUBSUB):
            host = self._emulators.get(emulator.name) or existing_emulator(emulator)
            if host:
                self._reporter.ready(emulator.name, f"{host}, running already", 0)
            else:
                port = self._port(emulator.name)
                part = emulator_part(emulator, java=find_java(), port=port, logs=self.folders.logs, warden=self._warden)
                parts.append(part)
                host = part.where
            self._emulators[emulator.name] = host
        return parts

    def _target(self) -> Target:
        if self._external:
            return external_target(self._external, self._reporter)
        part = cluster_part(
            folder=self.folders.cluster,
            nodes=self._nodes,
            port=self._port("cluster"),
            scenario=self._scenario,
            logs=self.folders.logs,
            warden=self._warden,
        )
        self._supervisor.launch([part])
        self._supervisor.wait_ready([part])
        return simulated_target(self.folders.cluster)

    def _function_parts(self, topology: Topology) -> list[Part]:
        base = {**inherited_environment(), **self.env, **self._extra_env["*"]}
        return [
            function_part(
                name,
                function,
                source=self._functions_root / name / "main.py",
                port=self._port(name),
                env={**base, **self._extra_env.get(name, {})},
                scratch=self.folders.scratch,
                logs=self.folders.logs,
                warden=self._warden,
            )
            for name, function in topology.functions.items()
        ]

    def _port(self, name: str) -> int:
        return self._given_ports.get(name) or self._ports.free()


def _topology(path: Path) -> Topology:
    try:
        return load_topology(path)
    except TopologyError as error:
        raise StackError(str(error)) from error
