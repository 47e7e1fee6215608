"""The tools of a release, in a virtual environment of their own: they bring more packages than the product."""

import subprocess
import sys
from pathlib import Path

from deploy.release.errors import ReleaseError

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements-release.txt"
FOLDER = ROOT / ".local" / "release"


def interpreter() -> Path:
    """Return the Python that has the tools; they are installed when it is first wanted, or when they changed.

    Raises:
        ReleaseError: they cannot be installed.
    """
    folder = FOLDER / "venv"
    python, stamp, wanted = folder / "bin" / "python", folder / "installed", REQUIREMENTS.read_text("utf-8")
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    uv = Path(sys.executable).with_name("uv")
    _run([str(uv), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    _run([str(uv), "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(REQUIREMENTS)])
    stamp.write_text(wanted, "utf-8")
    return python


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    except OSError as error:
        raise ReleaseError(f"{command[0]} does not start: {error.strerror}; make setup installs it") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split()) or f"exit status {error.returncode}"
        raise ReleaseError(f"the tools of {REQUIREMENTS.name} cannot be installed: {reason}") from error
