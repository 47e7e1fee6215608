"""When a part is ready: conditions that are looked at until they hold."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from deploy.local.errors import StackError
from deploy.local.ports import HOST
from deploy.local.process import Process

_FIRST_INTERVAL_S = 0.02
_LAST_INTERVAL_S = 0.2
_PROBE_TIMEOUT_S = 2.0
_LOG_LINES = 15
_LINE_WIDTH = 300

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
    interval = _FIRST_INTERVAL_S
    while not condition():
        if not process.alive:
            raise StackError(ended(process))
        if time.monotonic() > until:
            raise StackError(f"{process.name} is not ready after {timeout_s:.0f} s; {_end_of_log(process)}")
        if abandon.wait(interval):
            raise StackError(f"{process.name} was given up, as another part failed")
        interval = min(interval * 1.1, _LAST_INTERVAL_S)


def ended(process: Process) -> str:
    """One line that says how the process ended, and below it the end of its log."""
    if "UnsupportedClassVersionError" in process.tail(_LOG_LINES):
        return f"the {process.name} emulator needs a newer Java: install Java 21 or newer and set JAVA_HOME to it"
    return f"{process.name} ended with {process.outcome}; {_end_of_log(process)}"


def _end_of_log(process: Process) -> str:
    lines = list(dict.fromkeys(_readable(line) for line in process.tail(_LOG_LINES).splitlines()))
    if not lines:
        return f"its log {process.log} is empty"
    quoted = "\n".join(f"  | {line}" for line in lines)
    return f"its log {process.log} closes with\n{quoted}"


def _readable(line: str) -> str:
    """A line of a structured log without its fields, and of a stack trace the line that names the error."""
    try:
        entry = json.loads(line)
        text = f"{entry['severity']} {entry['message']}"
        trace = str(entry.get("stack_trace", "")).splitlines()[-1:]
    except (ValueError, TypeError, LookupError):
        return line[:_LINE_WIDTH]
    return ": ".join([text.splitlines()[0], *trace])[:_LINE_WIDTH]
