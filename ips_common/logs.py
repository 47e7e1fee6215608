"""Structured logs as Cloud Logging and Error Reporting read them: one JSON object a line on standard output.

https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
https://cloud.google.com/error-reporting/docs/formatting-error-messages
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from math import isfinite
from types import MappingProxyType, TracebackType
from typing import Any, Protocol

from ips_common import __version__

MAX_BYTES = 200 * 1024
"""Longest line; Cloud Logging drops entries over 256 KiB, and what its agents add counts too."""

_FIELDS: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default=MappingProxyType({}))
_LABELS = ("taskId", "batch", "cluster", "requestId")
_LONGEST_LABEL = 512
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SEVERITIES = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (0, "DEBUG"))
_GOOGLE = "logging.googleapis.com/"
_REPORT = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
_DEEPEST = 8
_LARGEST_INTEGER = 2**63

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2}).*")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?.*")

logger = logging.getLogger(__name__)


class Headers(Protocol):
    """Headers of a request, found whatever their case."""

    def get(self, name: str, default: str, /) -> str:
        """The value of a header, or the default."""
        ...


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Add fields to every entry logged inside, e.g. `bind(taskId=..., trace=...)`."""
    token = _FIELDS.set({**_FIELDS.get(), **{key: value for key, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _FIELDS.reset(token)


def trace_of(headers: Headers) -> dict[str, Any]:
    """The fields that tie entries to the trace a request belongs to; empty if it came with none.

    https://www.w3.org/TR/trace-context/#traceparent-header, and what Google's front ends sent before.
    """
    if (match := _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())) and match[1].strip("0"):
        return {"trace": match[1], "spanId": match[2], "traceSampled": bool(int(match[3], 16) & 1)}
    if (match := _CLOUD_TRACE.fullmatch(headers.get("X-Cloud-Trace-Context", "").strip())) and match[1].strip("0"):
        found: dict[str, Any] = {"trace": match[1].lower()}
        if match[2] and 0 < int(match[2]) < 2**64:
            found["spanId"] = f"{int(match[2]):016x}"  # there it is decimal
        if match[3]:
            found["traceSampled"] = match[3] == "1"
        return found
    return {}


def configure(*, level: str, log_format: str, project: str, function: str) -> None:
    """Send everything that is logged to standard output; called once per process, by the wiring."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(project, function) if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("google", "grpc", "urllib3", "aiohttp.access", "werkzeug", "asyncio"):
        logging.getLogger(noisy).setLevel("WARNING")
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda crash: _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)

    def divert(record: logging.LogRecord) -> bool:
        handler.handle(record)
        return False

    # gunicorn sets handlers of its own when it starts, later than this; what a filter takes never reaches them.
    logging.getLogger("gunicorn.error").addFilter(divert)


def _log_crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    logger.critical("exception that nothing caught", exc_info=(kind, error or kind(), trace))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    bound = _FIELDS.get()
    extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
    # A label that an entry does not know is not to hide the one that is known around it.
    return {**bound, **{key: value for key, value in extra.items() if value is not None or key not in bound}}


class JsonFormatter(logging.Formatter):
    """Entries with severity, trace and labels where Google's agents look for them.

    Whatever is logged makes an entry: what JSON cannot hold is written as text, and what is too long is cut.
    """

    def __init__(self, project: str, function: str) -> None:
        super().__init__()
        self._project = project
        self._function = function

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry as one line of JSON."""
        entry = self._entry(record)
        try:
            line = json.dumps(entry, default=str, ensure_ascii=False, allow_nan=False)
        except Exception:  # noqa: BLE001 - whatever is wrong with a value, losing the entry would be worse
            line = _dump(_plain(entry))
        return _encodable(line) if len(line) < MAX_BYTES // 4 else _fitting(line, entry)

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = _extra(record)
        google = {
            f"{_GOOGLE}trace": f"projects/{self._project}/traces/{trace}"
            if (trace := fields.pop("trace", None))
            else None,
            f"{_GOOGLE}spanId": fields.pop("spanId", None),
            f"{_GOOGLE}trace_sampled": fields.pop("traceSampled", None),
        }
        labels = {key: _text(value)[:_LONGEST_LABEL] for key in _LABELS if (value := fields.pop(key, None)) is not None}
        entry: dict[str, Any] = {
            **fields,
            "severity": next(name for level, name in _SEVERITIES if record.levelno >= level),
            "message": _message(record),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "logger": record.name,
            f"{_GOOGLE}labels": {**labels, "function": self._function},
            f"{_GOOGLE}sourceLocation": {
                "file": record.pathname,
                "line": str(record.lineno),
                "function": record.funcName,
            },
            **{key: value for key, value in google.items() if value is not None},
        }
        if record.exc_info and record.exc_info[0]:
            entry["stack_trace"] = self.formatException(record.exc_info)
        if record.levelno >= logging.ERROR:
            entry |= self._report(record, has_trace="stack_trace" in entry)
        return entry

    def _report(self, record: logging.LogRecord, *, has_trace: bool) -> dict[str, Any]:
        """What makes Error Reporting take the entry: without a stack trace, the type and the place in the code."""
        service = {"serviceContext": {"service": self._function, "version": __version__}}
        if has_trace:
            return service
        place = {"filePath": record.pathname, "lineNumber": record.lineno, "functionName": record.funcName}
        return {**service, "@type": _REPORT, "context": {"reportLocation": place}}


class TextFormatter(logging.Formatter):
    """Entries for people: time, level, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the entry as one line, with a stack trace below it if there is one."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        hidden = {"trace", "spanId", "traceSampled"}
        fields = " ".join(f"{key}={_text(value)}" for key, value in _extra(record).items() if key not in hidden)
        line = f"{time} {record.levelname:<7} {_message(record)} {fields}".rstrip()
        return _encodable(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments may fail in any way; the sentence alone is better than nothing
        return _text(record.msg)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a foreign `__str__` may fail in any way
        return f"<{type(value).__name__}>"


def _plain(value: Any, depth: int = _DEEPEST) -> Any:
    """The value as JSON can hold it, whatever it is."""
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) < _LARGEST_INTEGER:
            return value
        case float() if isfinite(value):
            return value
        case Mapping() if depth:
            return {_text(key): _plain(item, depth - 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [_plain(item, depth - 1) for item in value]
        case Mapping() | list() | tuple() | set() | frozenset():
            return "..."
        case _:
            return _text(value)


def _dump(entry: Any) -> str:
    return json.dumps(entry, ensure_ascii=False)


def _encodable(line: str) -> str:
    return line if line.isascii() else line.encode("utf-8", "replace").decode()


def _fitting(line: str, entry: Mapping[str, Any]) -> str:
    """The line, or if it is too long the entry with its longest parts cut, ever more of them."""
    line = _encodable(line)
    if len(line.encode()) <= MAX_BYTES:
        return line
    plain = _plain(entry)
    for longest in (16_000, 2_000, 200):
        line = _encodable(_dump({**{key: _cut(value, longest) for key, value in plain.items()}, "truncated": True}))
        if len(line.encode()) <= MAX_BYTES:
            return line
    kept = ("severity", "message", "time", "logger", f"{_GOOGLE}labels", f"{_GOOGLE}trace")
    return _encodable(_dump({key: _cut(plain[key], 2_000) for key in kept if key in plain} | {"truncated": True}))


def _cut(value: Any, longest: int) -> Any:
    """The value with what is longest in it cut: of a text, as of a stack trace, both ends tell most."""
    match value:
        case str() if len(value) > longest:
            return f"{value[: longest // 2]} [... {len(value) - longest} characters ...] {value[-longest // 2 :]}"
        case dict():
            return {key[:longest]: _cut(item, longest) for key, item in list(value.items())[: longest // 10]}
        case list():
            return [_cut(item, longest) for item in value[: longest // 10]]
        case _:
            return value
