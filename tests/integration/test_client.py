"""The command line of `clients/`, as a pipeline runs it, against the real service."""

import json
import os
import subprocess
import sys

from deploy.local.parts import ROOT
from deploy.local.stack import Stack


def run(stack: Stack, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run one command with the plain interpreter: no package of the project's is at hand."""
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "clients" / "ips.py"), *arguments],
        env={"PATH": os.environ["PATH"], "IPS_URL": stack.api_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_pipeline_prewarms_and_reads_what_came_of_it(stack: Stack) -> None:
    ready = run(stack, "prewarm", "registry.example/cli/web:1", "--batch-size", "10", "--min", "1", "--key", "cli-1")
    assert ready.returncode == 0, ready.stderr
    task_id = ready.stdout.strip()
    assert "20 of 20 nodes ready" in ready.stderr
    shown = json.loads(run(stack, "show", task_id).stdout)
    assert shown["progress"]["completedNodes"] == 20
    results = [json.loads(line) for line in run(stack, "nodes", task_id).stdout.splitlines()]
    assert {result["status"] for result in results} == {"succeeded"}
    again = run(stack, "prewarm", "registry.example/cli/web:1", "--batch-size", "10", "--min", "1", "--key", "cli-1")
    assert again.stdout.strip() == task_id
    assert task_id in run(stack, "tasks", "--limit", "5").stdout


def test_a_pipeline_learns_that_an_image_does_not_exist(stack: Stack) -> None:
    failed = run(stack, "prewarm", "registry.example/missing/web:1", "--batch-size", "20")
    assert failed.returncode == 1
    assert "ImageNotFound" in failed.stderr


def test_a_pipeline_sees_the_plan_first(stack: Stack) -> None:
    plan = json.loads(run(stack, "plan", "registry.example/cli/plan:1", "--batch-size", "5").stdout)
    assert len(plan["batches"]) == 4
