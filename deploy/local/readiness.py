"""When a part is ready: conditions that are looked at until they hold."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from deploy.local.errors import StackError
from deploy.local.ports import HOST
from deploy.local.process import Process

_INTERVAL_S = 0.02
_PROBE_TIMEOUT_S = 2.0
_LOG_LINES = 15

Condition = Callable[[], bool]


def accepts(port: int, address: str = HOST) -> Condition:
    """Something accepts connections on `port` of `address`."""

    def condition() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((address, port), _PROBE_TIMEOUT_S):
            return True
        return False

    return condition


def answers(port: int, path: str, *, below: int = HTTPStatus.INTERNAL_SERVER_ERROR) -> Condition:
    """An HTTP server on `port` answers `path` with a status below `below`."""

    def condition() -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_TIMEOUT_S)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status < below
        return False

    return condition


def wait_ready(process: Process, condition: Condition, timeout_s: float, abandon: threading.Event) -> None:
    """Wait until `condition` holds while `process` lives, or until `abandon` is set.

    Raises:
        StackError: The process ended, or `timeout_s` seconds passed, or the wait was abandoned.
    """
    until = time.monotonic() + timeout_s
    while not condition():
        if not process.alive:
            raise StackError(ended(process))
        if time.monotonic() > until:
            raise StackError(f"{process.name} is not ready after {timeout_s:.0f} s; {_end_of_log(process)}")
        if abandon.wait(_INTERVAL_S):
            raise StackError(f"{process.name} was given up, as another part failed")


def ended(process: Process) -> str:
    """One line that says how the process ended, and below it the end of its log."""
    if "UnsupportedClassVersionError" in process.tail(_LOG_LINES):
        return f"the {process.name} emulator needs a newer Java: install Java 21 or newer and set JAVA_HOME to it"
    return f"{process.name} ended with {process.outcome}; {_end_of_log(process)}"


def _end_of_log(process: Process) -> str:
    tail = process.tail(_LOG_LINES)
    if not tail:
        return f"its log {process.log} is empty"
    quoted = "\n".join(f"  | {line}" for line in tail.splitlines())
    return f"its log {process.log} closes with\n{quoted}"
