"""A function whose configuration is wrong does not start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = sorted(main.parent.name for main in (ROOT / "functions").glob("*/main.py"))


def start(function: str, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Do with the function what functions-framework does before it serves."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("IPS_", "K_"))}
    return subprocess.run(
        [sys.executable, "-c", code, function, f"functions/{function}/main.py"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "GOOGLE_CLOUD_PROJECT": "test", **variables},
    )


LOAD = "import sys, functions_framework as ff; ff.create_app(*sys.argv[1:]); print('started')"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_says_in_one_line_which_variable_is_wrong(function: str) -> None:
    ended = start(function, LOAD, MAX_CONCURRENT_TASKS="many")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("the configuration is wrong: MAX_CONCURRENT_TASKS: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_starts_otherwise(function: str) -> None:
    assert start(function, LOAD).stdout == "started\n"
