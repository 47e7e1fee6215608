"""Checks `infra/` without Google: `make infra-check`.

Terraform formats, validates and tests the module and its examples against the provider's schema. What it would make is
written down (`.local/infra/applied.json`) and compared with the functions' code by the tests in this folder.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.infra.extract import ROOT
from tests.infra.terraform import CheckError, Terraform, find, packages, provider

INFRA = ROOT / "infra"
SCRATCH = ROOT / ".local" / "infra"
UNCHECKED = (
    "what only Google answers: quotas, names taken by others, organisation policies, eventual consistency of rights",
    "values that the provider or an API would refuse, but for those listed in tests/infra/applied/test_values.py",
    "arguments that exclude or need each other",
    "arguments of google 7.x beyond those in tests/infra/extract.py (the schema is that of 6.50)",
    "whether the queries of alerts and dashboard find series, and the filters log entries, in a real project",
)


def main() -> int:
    """Run every check and say what came of it; returns the exit status."""
    before = _files()
    try:
        figures = _check()
    except CheckError as error:
        sys.stderr.write(f"{error}\ninfra-check failed\n")
        return 1
    if left := sorted(_files() ^ before):
        sys.stderr.write(f"the checks changed the work tree: {', '.join(left)}\ninfra-check failed\n")
        return 1
    sys.stdout.write(f"infra-check: {figures}\nNot checked here:\n" + "".join(f"- {each}\n" for each in UNCHECKED))
    return 0


def _check() -> str:
    program = find()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    python = packages(SCRATCH / "venv", ROOT / "requirements-infra.txt")
    examples = sorted(path.parent for path in INFRA.glob("examples/*/main.tf"))
    with provider(python) as running:
        terraform = Terraform(program, SCRATCH, running)
        terraform.run(INFRA, "fmt", "-check", "-diff", "-recursive")
        for folder in (INFRA, *examples, _documented()):
            terraform.run(folder, "init", "-backend=false", "-no-color")
            terraform.run(folder, "validate", "-no-color")
        report = terraform.run(INFRA, "test", "-json", "-verbose")
    passed, applied = _read(report)
    file = SCRATCH / "applied.json"
    file.write_text(json.dumps(applied), "utf-8")
    asserts = sum(text.count("assert {") + text.count("expect_failures") for text in _test_files())
    checks = _pytest(file)
    resources = sum(len(each["resources"]) for each in applied.values())
    return (
        f"formatted; module, {len(examples)} examples and the one in docs/deployment.md valid; {passed} runs with "
        f"{asserts} assertions passed ({resources} resources in {len(applied)} applied states); "
        f"{checks} Python checks passed"
    )


def _documented() -> Path:
    """Write down the root module that the guide shows, calling this module, and return its folder."""
    folder = SCRATCH / "documented"
    folder.mkdir(exist_ok=True)
    shown = (ROOT / "docs" / "deployment.md").read_text("utf-8").partition("```hcl\n")[2].partition("```")[0]
    here = os.path.relpath(INFRA, folder)
    text, found = re.subn(r'source = "git::.*', f'source = "{here}"', shown)
    if not found:
        raise CheckError("docs/deployment.md shows no root module")
    (folder / "main.tf").write_text(text, "utf-8")
    return folder


def _read(report: str) -> tuple[int, dict[str, Any]]:
    """Return how many runs passed, and what each applied run made: its resources and outputs."""
    applied: dict[str, Any] = {}
    passed = 0
    for line in report.splitlines():
        entry = json.loads(line)
        if entry["type"] == "test_state":
            state = entry["test_state"]
            file = Path(entry["@testfile"]).name.removesuffix(".tftest.hcl")
            applied[f"{file}/{entry['@testrun']}"] = {
                "resources": {each["address"]: each["values"] for each in state["root_module"]["resources"]},
                "outputs": {name: each["value"] for name, each in state["outputs"].items()},
            }
        elif entry["type"] == "test_summary":
            passed = entry["test_summary"]["passed"]
    if not passed:
        raise CheckError("terraform test ran nothing")
    return passed, applied


def _pytest(applied: Path) -> int:
    """Run this folder's tests and return how many passed."""
    results = SCRATCH / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={results}"]
    done = subprocess.run(
        [*command, str(Path(__file__).parent)],
        cwd=ROOT,
        env=os.environ | {"IPS_INFRA_APPLIED": str(applied)},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise CheckError("what Terraform would make does not fit the code")
    suite = ET.parse(results).getroot()[0].attrib
    if suite["skipped"] != "0":
        raise CheckError(f"{suite['skipped']} Python checks were skipped")
    return int(suite["tests"])


def _test_files() -> Iterator[str]:
    return (path.read_text("utf-8") for path in INFRA.glob("tests/*.tftest.hcl"))


def _files() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in INFRA.rglob("*")}


if __name__ == "__main__":
    sys.exit(main())
