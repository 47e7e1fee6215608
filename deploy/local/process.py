"""One process of the stack, with its group, its log and its end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.warden import Warden

_TAIL_BYTES = 65536


class Process:
    """A program in a process group of its own, so that its children end with it."""

    def __init__(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, warden: Warden
    ) -> None:
        """Describe the process; `start` runs it and appends what it prints to the file `log`."""
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = dict(env)
        self._cwd = cwd
        self._warden = warden
        self._popen: subprocess.Popen[bytes] | None = None
        # Once a group is known to be gone its number may become another's, so it is signalled no more.
        self._swept = False

    def start(self) -> None:
        """Run the program, after the end of what an earlier run left of its group."""
        self.kill()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._swept = False
        self._warden.watch(self._popen.pid)

    @property
    def pid(self) -> int | None:
        """The process id, which is the group's too; none before the first start."""
        return self._popen.pid if self._popen else None

    @property
    def alive(self) -> bool:
        """Whether the program itself runs."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def outcome(self) -> str:
        """How the last run ended, in words."""
        code = self._popen.poll() if self._popen else None
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def terminate(self) -> None:
        """Ask the program to end; what it started is its own to end."""
        if self._popen and self.alive:
            self._popen.terminate()

    def wait(self, until: float) -> bool:
        """Wait for the program's end until `until` on the monotonic clock; return whether it came."""
        if self._popen is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, until - time.monotonic()))
        return not self.alive

    def kill(self) -> None:
        """End the whole group at once and wait until the program is gone."""
        if self._popen is None or self._swept:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._warden.forget(self._popen.pid)
        self._swept = True

    def note(self, text: str) -> None:
        """Add a line of the stack's own to the log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"--- {text} ---\n")

    def tail(self, lines: int) -> str:
        """The last `lines` lines of the log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])
