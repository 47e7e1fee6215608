"""The local stack itself, with functions of a few lines in place of the real ones."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from deploy.local.console import Quiet
from deploy.local.errors import StackError
from deploy.local.messaging import Messaging
from deploy.local.parts import ROOT
from deploy.local.stack import Stack

HTTP = """
import os
import functions_framework

@functions_framework.http
def api(request):
    return {"path": request.path, "env": dict(os.environ)}
"""
EVENT = """
import base64
import functions_framework

@functions_framework.cloud_event
def NAME(event):
    print("got", event["source"], base64.b64decode(event.data["message"]["data"]).decode(), flush=True)
"""
_config: Any = config


class Remarks(Quiet):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def remark(self, text: str) -> None:
        self.texts.append(text)


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.02)


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return dict(json.load(answer))


@pytest.fixture(scope="module")
def functions_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("functions")
    for name, source in (("api", HTTP), ("echo", EVENT)):
        (root / name).mkdir()
        (root / name / "main.py").write_text(source.replace("NAME", name))
    return root


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A topology that shares nothing with the project's own."""
    own = yaml.safe_load((ROOT / "infra" / "topology.yaml").read_text())
    content = {
        "functions": {"api": own["functions"]["api"], "echo": own["functions"]["tracker"]},
        "topics": [{"name": "voices"}, {"name": "silence"}],
        "subscriptions": [
            own["subscriptions"][0]
            | {
                "name": "voices-push",
                "topic": "voices",
                "function": "echo",
                "deadLetter": {"topic": "silence", "maxDeliveryAttempts": 5},
            }
        ],
        "schedules": [
            {"name": "voices-minute", "schedule": "* * * * *", "topic": "voices", "message": {"say": "tick"}}
        ],
    }
    path = tmp_path_factory.mktemp("topology") / "topology.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def small(functions_root: Path, topology: Path, emulators: dict[str, str]) -> Iterator[Stack]:
    with Stack(
        nodes=3,
        functions_root=functions_root,
        topology=topology,
        emulators=emulators,
        env={"SHARED": "all", "MINE": "none"},
        function_env={"api": {"MINE": "api"}},
    ) as stack:
        yield stack


def test_a_function_answers_and_knows_where_everything_is(small: Stack, emulators: dict[str, str]) -> None:
    env = get(f"{small.api_url}/hello")["env"]
    assert env["GOOGLE_CLOUD_PROJECT"] == small.project
    assert env["FIRESTORE_EMULATOR_HOST"] == emulators["firestore"]
    assert env["PUBSUB_EMULATOR_HOST"] == emulators["pubsub"]
    assert json.loads(env["IPS_CLUSTERS"])["default"] == {"kubeconfig": str(small.kubeconfig), "context": "ips"}
    assert env["IPS_FUNCTION"] == "api"
    assert (env["SHARED"], env["MINE"]) == ("all", "api")


def test_a_message_reaches_the_function_of_its_subscription(small: Stack) -> None:
    Messaging(small.env["PUBSUB_EMULATOR_HOST"], small.project).publish("voices", {"say": "hello"})
    source = f"//pubsub.googleapis.com/projects/{small.project}/topics/voices"
    until(lambda: f'got {source} {{"say": "hello"}}' in small.logs("echo"))


def test_a_subscription_is_as_the_topology_says(small: Stack) -> None:
    base = f"http://{small.env['PUBSUB_EMULATOR_HOST']}/v1/projects/{small.project}"
    subscription = get(f"{base}/subscriptions/voices-push")
    topics = f"projects/{small.project}/topics"
    assert subscription["pushConfig"]["pushEndpoint"] == f"{small.url('echo')}/{topics}/voices"
    assert subscription["ackDeadlineSeconds"] == 330
    assert subscription["messageRetentionDuration"] == "86400s"
    assert subscription["retryPolicy"] == {"minimumBackoff": "1s", "maximumBackoff": "60s"}
    assert subscription["deadLetterPolicy"] == {"deadLetterTopic": f"{topics}/silence", "maxDeliveryAttempts": 5}


def test_an_emulator_that_refuses_is_named(small: Stack) -> None:
    messaging = Messaging(small.env["PUBSUB_EMULATOR_HOST"], small.project)
    with pytest.raises(StackError, match=r"refuses POST topics/nowhere:publish: .*NOT_FOUND"):
        messaging.publish("nowhere", {})


def test_the_cluster_has_the_namespace_and_the_functions_have_least_rights(small: Stack) -> None:
    admin: Any = client.CoreV1Api(_config.new_client_from_config(str(small.kubeconfig)))
    least: Any = client.CoreV1Api(_config.new_client_from_config(str(small.kubeconfig), "ips"))
    labels = admin.read_namespace("ips").metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(least.list_node().items) == 3
    with pytest.raises(client.ApiException) as refused:
        least.delete_node("node-00000")
    assert refused.value.status == 403


def test_a_function_that_dies_is_up_again(small: Stack) -> None:
    before = small.pid("api")
    assert before
    os.kill(before, signal.SIGKILL)
    until(lambda: small.pid("api") != before)
    small.start("api")
    assert get(f"{small.api_url}/again")["path"] == "/again"
    assert "api ended with signal 9: started again" in small.logs("api")


def test_a_killed_function_stays_down_until_started_if_so_wished(small: Stack) -> None:
    small.autorestart = False
    try:
        small.kill("api")
        with pytest.raises(OSError, match=r"refused|reset"):
            get(small.api_url)
        small.start("api")
    finally:
        small.autorestart = True
    assert get(f"{small.api_url}/up")["path"] == "/up"


def test_a_message_published_while_its_function_is_down_arrives_later(small: Stack) -> None:
    small.autorestart = False
    try:
        small.kill("echo")
        Messaging(small.env["PUBSUB_EMULATOR_HOST"], small.project).publish("voices", {"say": "late"})
        small.start("echo")
    finally:
        small.autorestart = True
    until(lambda: '{"say": "late"}' in small.logs("echo"))


def test_two_stacks_live_side_by_side(small: Stack, functions_root: Path, topology: Path) -> None:
    with Stack(nodes=1, functions_root=functions_root, topology=topology) as other:
        assert other.project != small.project
        assert get(other.api_url)["env"]["GOOGLE_CLOUD_PROJECT"] == other.project
        assert get(small.api_url)["env"]["GOOGLE_CLOUD_PROJECT"] == small.project
        state = json.loads((other.folders.top / "stack.json").read_text())
        assert set(state["parts"]) == {"firestore", "pubsub", "cluster", "api", "echo"}
    assert not any(running(part["pid"]) for part in state["parts"].values())
    assert not other.folders.scratch.exists()


def test_a_cluster_of_ones_own_is_used(
    small: Stack, functions_root: Path, topology: Path, emulators: dict[str, str], tmp_path: Path
) -> None:
    mine = yaml.safe_load(small.kubeconfig.read_text())
    mine["current-context"] = "ips"
    kubeconfig = small.folders.cluster / f"mine-{tmp_path.name}"
    kubeconfig.write_text(yaml.safe_dump(mine))
    remarks = Remarks()
    with Stack(
        kubeconfig=kubeconfig, functions_root=functions_root, topology=topology, emulators=emulators, reporter=remarks
    ) as other:
        cluster = json.loads(get(other.api_url)["env"]["IPS_CLUSTERS"])["default"]
    assert cluster == {"kubeconfig": str(kubeconfig), "context": "ips"}
    assert other.cluster_url == small.cluster_url
    assert any("may not look whether namespace ips exists" in text for text in remarks.texts)


def test_a_function_that_cannot_start_is_told_with_its_log(
    topology: Path, emulators: dict[str, str], tmp_path: Path
) -> None:
    for name in ("api", "echo"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("raise RuntimeError('no configuration')")
    stack = Stack(nodes=1, functions_root=tmp_path, topology=topology, emulators=emulators)
    with pytest.raises(StackError, match=r"ended with exit code 1;(.|\n)*RuntimeError: no configuration"), stack:
        pass


def test_a_function_without_source_is_named(topology: Path, emulators: dict[str, str], tmp_path: Path) -> None:
    stack = Stack(nodes=1, functions_root=tmp_path, topology=topology, emulators=emulators)
    with pytest.raises(StackError, match=r"function api of infra/topology\.yaml has no .*/api/main\.py"), stack:
        pass


class Command:
    """`python -m deploy.local run`, as `make run` starts it, or another command."""

    def __init__(self, log: Path, name: str = "run", **env: str) -> None:
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", name],
                cwd=ROOT,
                env={**os.environ, "IPS_NODES": "3", **env},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def ready(self) -> dict[str, int]:
        """Wait until it is up; return the process ids of its parts."""
        until(lambda: "Ctrl-C" in self.output or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.output
        (folder,) = (
            path.parent
            for path in (ROOT / ".local").glob("*/stack.json")
            if json.loads(path.read_text())["pid"] == self.process.pid
        )
        parts = json.loads((folder / "stack.json").read_text())["parts"]
        return {name: part["pid"] for name, part in parts.items()}

    def failure(self) -> str:
        """Wait for its end, which must be a failure; return what it printed last."""
        assert self.process.wait(60) == 1, self.output
        assert "Traceback" not in self.output
        return self.output.splitlines()[-1]


@pytest.fixture
def command(tmp_path: Path, emulators: dict[str, str]) -> Iterator[Callable[..., Command]]:
    made: list[Command] = []
    hosts = {f"{name.upper()}_EMULATOR_HOST": host for name, host in emulators.items()}

    def start(name: str = "run", **env: str) -> Command:
        made.append(Command(tmp_path / "output", name, **(hosts | env)))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()


def test_the_demo_goes_as_it_must(command: Callable[..., Command]) -> None:
    demo = command("demo", IPS_NODES="7")
    assert demo.process.wait(90) == 0, demo.output
    assert "task failed, as it should be: 0 of 7 nodes hold every image" in demo.output
    assert "strict order: no Job of a batch before the batch ahead was settled" in demo.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_with_nothing_left_when_it_is_told_to(command: Callable[..., Command], number: signal.Signals) -> None:
    run = command()
    parts = run.ready()
    run.process.send_signal(number)
    assert run.process.wait(30) == 0
    assert run.output.splitlines()[-1] == "stopped"
    assert [name for name, pid in parts.items() if running(pid)] == []


def test_run_leaves_nothing_when_it_is_killed(command: Callable[..., Command]) -> None:
    run = command()
    parts = run.ready()
    assert set(parts) >= {"cluster", "api", "batch", "tracker"}
    run.process.kill()
    until(lambda: not any(running(pid) for pid in parts.values()))


def test_a_port_in_use_is_one_clear_line(command: Callable[..., Command]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = command(IPS_API_PORT=str(port)).failure()
    assert told.startswith(f"error: port {port} (IPS_API_PORT) is already in use; stop what listens there or")


def test_a_port_that_is_none_is_one_clear_line(command: Callable[..., Command]) -> None:
    told = command(IPS_API_PORT="eighty").failure()
    assert told == "error: IPS_API_PORT=eighty is not a port; give a number from 1 to 65535"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("IPS_NODES", "0"), ("IPS_NODES", "many"), ("IPS_KUBECONFIG", "/nonexistent"), ("IPS_SCENARIO", "/nonexistent")],
)
def test_a_setting_that_makes_no_sense_is_one_clear_line(
    command: Callable[..., Command], variable: str, value: str
) -> None:
    told = command(**{variable: value}).failure()
    assert told.startswith(f"error: {variable}={value}")
    assert "\n" not in told


def test_an_emulator_that_does_not_answer_is_one_clear_line(command: Callable[..., Command]) -> None:
    told = command(FIRESTORE_EMULATOR_HOST="127.0.0.1:9").failure()
    assert told.startswith("error: FIRESTORE_EMULATOR_HOST names 127.0.0.1:9, where nothing answers")


def test_a_cluster_that_does_not_answer_is_one_clear_line(command: Callable[..., Command], tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "far",
        "clusters": [{"name": "far", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "me", "user": {"token": "x"}}],
        "contexts": [{"name": "far", "context": {"cluster": "far", "user": "me"}}],
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    told = command(IPS_KUBECONFIG=str(kubeconfig)).failure()
    assert told.startswith(f"error: cluster https://127.0.0.1:9 (context far of {kubeconfig}) cannot be reached")


def test_a_kubeconfig_that_is_none_is_one_clear_line(command: Callable[..., Command], tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("not: [a kubeconfig\n")
    assert (
        command(IPS_KUBECONFIG=str(kubeconfig)).failure().startswith(f"error: kubeconfig {kubeconfig} cannot be used")
    )
