"""The command line tools around the simulation."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.cluster import control
from deploy.local.cluster.running import READY, reach, running_cluster

ROOT = Path(__file__).parents[3]


def test_commands_from_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_cluster(tmp_path, nodes=2):
        at = ["--dir", str(tmp_path)]
        assert control.main([*at, "nodes/node-00001", "stuck=true", "labels={a: b}"]) == 0
        assert json.loads(capsys.readouterr().out) == {"nodes": ["node-00001"]}
        assert control.main([*at, "kubelet"]) == 0
        assert json.loads(capsys.readouterr().out)["parallel_pulls"] == 1
        assert control.main([*at, "watches/cut", "--post"]) == 0
        assert json.loads(capsys.readouterr().out) == {"cut": 0}
        assert control.main([*at, "faults", "status=999"]) == 1
        assert "Input should be 429, 500, 503 or 504" in capsys.readouterr().err


def test_command_without_a_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert control.main(["--dir", str(tmp_path), "requests"]) == 1
    assert READY in capsys.readouterr().err


def test_the_measurement_runs() -> None:
    command = [sys.executable, "-m", "deploy.local.cluster.bench", "--nodes", "3", "--jobs", "6"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("6 Jobs on 3 nodes created in ")
    assert "all complete after" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_cluster_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "deploy.local.cluster", "--dir", str(tmp_path), "--nodes", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not (tmp_path / READY).exists():
            assert process.poll() is None
        assert reach(tmp_path).pid == process.pid
        os.kill(process.pid, number)
        output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, b"")


def test_a_scenario_with_a_mistake_is_named(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("kubelet: {bandwith_mib: 5}\n")
    with (
        pytest.raises(RuntimeError, match="bandwith_mib"),
        running_cluster(tmp_path / "cluster", nodes=1, scenario=scenario),
    ):
        pass
