"""Structured logs as Cloud Logging reads them: one JSON object a line on standard output.

https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ips_common import __version__

_FIELDS: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default=MappingProxyType({}))
_LABELS = ("taskId", "batch", "cluster", "requestId")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Add fields to every entry logged inside, e.g. `bind(taskId=..., trace=...)`."""
    token = _FIELDS.set({**_FIELDS.get(), **{key: value for key, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _FIELDS.reset(token)


def configure(*, level: str, log_format: str, project: str, function: str) -> None:
    """Send the root logger to standard output; called once per process, by the wiring."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(project, function) if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("google", "grpc", "urllib3", "aiohttp.access", "werkzeug", "asyncio"):
        logging.getLogger(noisy).setLevel("WARNING")


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
    return {**_FIELDS.get(), **extra}


class JsonFormatter(logging.Formatter):
    """Entries with severity, trace and labels where Google's agents look for them."""

    def __init__(self, project: str, function: str) -> None:
        super().__init__()
        self._project = project
        self._function = function

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry as one line of JSON."""
        fields = _extra(record)
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "logger": record.name,
        }
        trace = fields.pop("trace", None)
        if trace:
            entry["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{trace}"
        labels = {key: str(fields.pop(key)) for key in _LABELS if key in fields}
        labels["function"] = self._function
        entry["logging.googleapis.com/labels"] = labels
        entry.update(fields)
        if record.exc_info:
            # Error Reporting groups entries of severity ERROR and above that hold a stack trace here.
            entry["stack_trace"] = f"{entry['message']}\n{self.formatException(record.exc_info)}"
            entry["serviceContext"] = {"service": self._function, "version": __version__}
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Entries for people: time, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry as one line, with a stack trace below it if there is one."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{key}={value}" for key, value in _extra(record).items() if key != "trace")
        line = f"{time} {record.levelname:<7} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
