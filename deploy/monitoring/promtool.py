"""promtool, Prometheus' own checker: the one on the PATH, or Debian's, unpacked beside the repository without root."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.monitoring.errors import CheckError

ROOT = Path(__file__).parents[2]
_UNPACKED = ROOT / ".local" / "prometheus"
_TIMEOUT_S = 300
_ADVICE = "promtool is needed: install Prometheus (Debian: apt-get install prometheus) so that promtool is on the PATH"


class Promtool:
    """One promtool program."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def check_rules(self, rules: Path) -> None:
        """Check that a rule file is one.

        Raises:
            CheckError: it is not; in promtool's words.
        """
        self._run("check", "rules", "--lint=all", "--lint-fatal", rules)

    def test_rules(self, tests: Path) -> None:
        """Run unit tests of rules.

        Raises:
            CheckError: some fail; in promtool's words.
        """
        self._run("test", "rules", tests)

    def _run(self, *arguments: str | Path) -> None:
        done = subprocess.run(  # noqa: S603 - promtool, with files of our own
            [self._program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode:
            words = "\n".join(line for line in f"{done.stdout}{done.stderr}".splitlines() if line.strip())
            raise CheckError(words)


def installed(folder: Path = _UNPACKED) -> Promtool | None:
    """The promtool that this machine has, on the PATH or unpacked in `folder`."""
    on_path = shutil.which("promtool")
    unpacked = folder / "usr" / "bin" / "promtool"
    if on_path:
        return Promtool(Path(on_path))
    return Promtool(unpacked) if unpacked.exists() else None


def find(folder: Path = _UNPACKED) -> Promtool:
    """The promtool that this machine has, or one that is fetched to `folder` now.

    Raises:
        CheckError: there is none, and none to be had.
    """
    found = installed(folder)
    if found is None:
        _fetch(folder)
        found = installed(folder)
    if found is None:
        raise CheckError(_ADVICE)
    return found


def _fetch(target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="prometheus-") as name:
        folder = Path(name)
        try:
            _quietly("apt-get", "download", "prometheus", folder=folder)
            [package] = folder.glob("prometheus_*.deb")
            _quietly("dpkg-deb", "-x", str(package), "unpacked", folder=folder)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise CheckError(_ADVICE) from error
        shutil.rmtree(target, ignore_errors=True)
        (folder / "unpacked").rename(target)


def _quietly(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, capture_output=True, timeout=_TIMEOUT_S, check=True)  # noqa: S603 - fixed commands
