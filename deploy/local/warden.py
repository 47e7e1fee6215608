"""Ends what a stack started when the stack itself dies without doing so, killed with SIGKILL for example.

It runs as a small process of its own, reads `+GROUP` and `-GROUP` lines from the stack's end of a pipe, and when the
pipe closes kills the process groups still listed. It needs only the standard library and is started by file name.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path


class Warden:
    """The stack's end of the pipe."""

    def __init__(self, scratch: Path) -> None:
        """Start the warden; it also removes the directory `scratch` in the end."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(scratch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def watch(self, group: int) -> None:
        """Kill the process group `group` should this process die."""
        self._say(f"+{group}")

    def forget(self, group: int) -> None:
        """The process group `group` is gone: its number may soon be another's."""
        self._say(f"-{group}")

    def _say(self, line: str) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._process.stdin and not self._process.stdin.closed:
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()

    def dismiss(self) -> None:
        """End the warden, and with it whatever it still watches."""
        with self._lock:
            if self._process.stdin:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
        self._process.wait()


def _guard(lines: Iterable[str], scratch: str) -> None:
    groups: set[int] = set()
    for line in lines:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    _guard(sys.stdin, sys.argv[1])
