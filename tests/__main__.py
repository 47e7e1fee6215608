"""All tests that need no cluster of one's own, in three processes at once: most of the time they wait for something.

python -m tests [arguments of pytest]
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).parents[1]
FAULTS = [
    f"tests/integration/test_{name}.py" for name in ("chaos", "clusters", "hostile", "outages", "poison", "sigterm")
]
GROUPS = {
    "rules": [
        "tests/unit",
        "tests/contract",
        "tests/golden",
        "tests/infra",
        "--ignore=tests/infra/applied",
        "tests/deploy",
    ],
    "parts": ["tests/integration", *(f"--ignore={path}" for path in FAULTS)],
    "faults": FAULTS,
}
NOTHING_FOUND = 5
"""pytest's exit code when no test was selected, as with `-k` for a test of another group."""


def run(arguments: Sequence[str], folder: Path) -> int:
    """Run all groups and report what they covered together; returns the exit code."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = {name: _start(name, arguments, folder) for name in GROUPS}
    readers = [Thread(target=_relay, args=(name, process)) for name, process in started.items()]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    codes = {name: process.wait() for name, process in started.items()}
    coverage = [sys.executable, "-m", "coverage"]
    data = [str(path) for path in folder.glob("coverage.*")]
    combined = f"--data-file={folder / 'combined'}"
    subprocess.run([*coverage, "combine", "--quiet", combined, *data], cwd=ROOT, check=True)
    subprocess.run([*coverage, "report", combined], cwd=ROOT, check=True)
    for name, code in codes.items():
        _say(f"{name}: {'nothing selected' if code == NOTHING_FOUND else f'pytest ended with {code}'}")
    return verdict(codes.values())


def verdict(codes: Collection[int]) -> int:
    """Return the exit code of all groups from those of each; a negative one is the signal that ended a group."""
    failed = [code for code in codes if code not in {0, NOTHING_FOUND}]
    if failed:
        return abs(failed[0])
    return 0 if 0 in codes else NOTHING_FOUND


def _start(name: str, arguments: Sequence[str], folder: Path) -> "subprocess.Popen[str]":
    pytest = [sys.executable, "-m", "pytest", "--cov", "--cov-report=", "-o", f"cache_dir={folder / name}"]
    return subprocess.Popen(
        [*pytest, *GROUPS[name], *arguments],
        cwd=ROOT,
        # A file each: whoever ends first would take the others' for its own.
        env={**os.environ, "COVERAGE_FILE": str(folder / f"coverage.{name}"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _relay(name: str, process: "subprocess.Popen[str]") -> None:
    assert process.stdout
    for line in process.stdout:
        _say(f"{name} | {line.rstrip()}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], ROOT / ".local" / "test"))
