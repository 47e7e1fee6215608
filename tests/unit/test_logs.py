"""Log entries are what Cloud Logging and Error Reporting document, whatever is logged.

https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry
https://cloud.google.com/error-reporting/docs/formatting-error-messages
"""

import json
import logging
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_common import __version__, logs
from ips_common.logs import JsonFormatter, TextFormatter, bind, trace_of

ROOT = Path(__file__).resolve().parents[2]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SEVERITIES = {"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}
SPECIAL = {"labels", "trace", "spanId", "trace_sampled", "sourceLocation", "operation", "insertId"}
LIMIT = 256 * 1024


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def write(message: object = "a sentence", *args: object, level: int = logging.INFO, **extra: Any) -> str:
    """The line of an entry."""
    record = logging.getLogger("ips_common.some").makeRecord(
        "ips_common.some", level, "/app/ips_common/some.py", 12, message, args, None, "act", extra
    )
    return JsonFormatter("my-project", "api").format(record)


def entry(message: object = "a sentence", *args: object, **options: Any) -> dict[str, Any]:
    """An entry, read back as any JSON parser would."""
    line = write(message, *args, **options)
    assert "\n" not in line

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    read: dict[str, Any] = json.loads(line.encode(), parse_constant=refuse)
    assert {key.partition("/")[2] for key in read if key.startswith("logging.googleapis.com/")} <= SPECIAL
    return read


def test_an_entry_has_what_the_console_shows() -> None:
    with bind(taskId="task-1", trace=TRACE, spanId=SPAN, traceSampled=True, batch=3):
        found = entry("Jobs created", cluster="default", requestId="ci-1", jobs=10)

    assert datetime.fromisoformat(found["time"]).utcoffset() == timedelta(0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", found.pop("time"))
    assert found == {
        "severity": "INFO",
        "message": "Jobs created",
        "logger": "ips_common.some",
        "jobs": 10,
        "logging.googleapis.com/trace": f"projects/my-project/traces/{TRACE}",
        "logging.googleapis.com/spanId": SPAN,
        "logging.googleapis.com/trace_sampled": True,
        "logging.googleapis.com/labels": {
            "taskId": "task-1",
            "batch": "3",
            "cluster": "default",
            "requestId": "ci-1",
            "function": "api",
        },
        # `line` is an int64, which JSON writes as text.
        "logging.googleapis.com/sourceLocation": {"file": "/app/ips_common/some.py", "line": "12", "function": "act"},
    }


def test_an_unknown_id_does_not_hide_a_known_one() -> None:
    with bind(requestId="ci-1"):
        assert entry(requestId=None)["logging.googleapis.com/labels"]["requestId"] == "ci-1"
        assert entry(requestId="ci-2")["logging.googleapis.com/labels"]["requestId"] == "ci-2"


def test_outside_a_request_there_is_no_trace() -> None:
    assert not [key for key in entry() if "trace" in key or "span" in key]
    assert entry(taskId=None)["logging.googleapis.com/labels"] == {"function": "api"}


@pytest.mark.parametrize("level", [1, 10, 15, 20, 25, 30, 40, 45, 50, 90])
def test_every_level_has_a_severity_that_there_is(level: int) -> None:
    assert entry(level=level)["severity"] in SEVERITIES


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, (TRACE, SPAN, True)),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, (TRACE, SPAN, False)),
        ({"traceparent": f"01-{TRACE}-{SPAN}-03-more"}, (TRACE, SPAN, True)),
        ({"X-Cloud-Trace-Context": f"{TRACE}/13235353014750950193;o=1"}, (TRACE, SPAN, True)),
        ({"X-Cloud-Trace-Context": f"{TRACE.upper()}/1;o=0"}, (TRACE, f"{1:016x}", False)),
        ({"X-Cloud-Trace-Context": f"{TRACE}/0;o=1"}, (TRACE, None, True)),
        ({"X-Cloud-Trace-Context": f"{TRACE}/99999999999999999999"}, (TRACE, None, None)),
        ({"X-Cloud-Trace-Context": TRACE}, (TRACE, None, None)),
        (
            {"traceparent": f"00-{TRACE}-{SPAN}-01", "X-Cloud-Trace-Context": f"{'1' * 32}/1;o=0"},
            (TRACE, SPAN, True),
        ),
        ({"traceparent": "garbage", "X-Cloud-Trace-Context": TRACE}, (TRACE, None, None)),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, (None, None, None)),
        ({"X-Cloud-Trace-Context": "0" * 32}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_the_trace_is_that_of_the_headers(headers: dict[str, str], expected: tuple[object, ...]) -> None:
    found = trace_of(headers)
    assert tuple(found.get(name) for name in ("trace", "spanId", "traceSampled")) == expected


def crash() -> tuple[Any, ...]:
    try:
        int("first line")
    except ValueError:
        return sys.exc_info()
    raise AssertionError


def with_trace(level: int) -> dict[str, Any]:
    record = logging.LogRecord("a", level, "/app/a.py", 7, "request failed", (), crash(), "act")
    read: dict[str, Any] = json.loads(JsonFormatter("my-project", "api").format(record))
    return read


def test_error_reporting_gets_the_stack_trace_as_python_writes_it() -> None:
    found = with_trace(logging.ERROR)

    assert found["severity"] == "ERROR"
    assert found["message"] == "request failed"
    assert found["stack_trace"].startswith("Traceback (most recent call last):\n  File ")
    assert found["stack_trace"].endswith("\nValueError: invalid literal for int() with base 10: 'first line'")
    assert found["serviceContext"] == {"service": "api", "version": __version__}
    assert "@type" not in found


def test_what_is_lost_without_an_exception_is_reported_by_its_type_and_place() -> None:
    found = entry("batch message was dead-lettered", level=logging.ERROR)

    assert found["@type"] == "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
    assert found["serviceContext"] == {"service": "api", "version": __version__}
    place = {"filePath": "/app/ips_common/some.py", "lineNumber": 12, "functionName": "act"}
    assert found["context"] == {"reportLocation": place}


def test_what_heals_by_itself_is_not_reported() -> None:
    assert "serviceContext" not in with_trace(logging.WARNING)
    assert "serviceContext" not in entry(level=logging.WARNING)
    assert "stack_trace" in with_trace(logging.WARNING)


def test_fields_of_an_entry_cannot_pass_for_others() -> None:
    found = entry(severity="DEBUG", time="never", logger="other", stack_trace="none")
    assert (found["severity"], found["logger"]) == ("INFO", "ips_common.some")
    assert found["time"] != "never"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("two\nlines\r\u2028", "two\nlines\r\u2028"),
        ("half \ud83d a character", "half ? a character"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (10**5000, "<int>"),
        ({("a", 1): {2: b"bytes"}}, {"('a', 1)": {"2": "b'bytes'"}}),
        (Hostile(), "<Hostile>"),
        ([Hostile(), 1, None, True, 1.5], ["<Hostile>", 1, None, True, 1.5]),
        ({Hostile(): 1}, {"<Hostile>": 1}),
        (frozenset({1}), "frozenset({1})"),
        (timedelta(seconds=1), "0:00:01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_written_as_text(value: Any, written: Any) -> None:
    assert entry(field=value)["field"] == written


def test_what_refers_to_itself_or_is_nested_without_end_makes_an_entry_too() -> None:
    circle: list[Any] = []
    circle.append(circle)
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]

    assert "..." in json.dumps(entry(field=circle)["field"])
    assert "..." in json.dumps(entry(field=nested)["field"])
    while nested:
        nested = nested[0]  # taken apart step by step: Python frees what is nested by recursion


@pytest.mark.parametrize(
    ("message", "args", "written"),
    [
        ("%d nodes", ("many",), "%d nodes"),
        ("no place", ("for this",), "no place"),
        ("a %s", (Hostile(),), "a %s"),
        (Hostile(), (), "<Hostile>"),
        ("two\nlines", (), "two\nlines"),
        ("100%", (), "100%"),
    ],
)
def test_a_sentence_that_cannot_be_written_makes_an_entry_too(message: Any, args: Any, written: str) -> None:
    assert entry(message, *args)["message"] == written
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, message, args, None)
    assert written in TextFormatter().format(record)


@pytest.mark.parametrize(
    "extra",
    [
        {"error": "x" * 1_000_000},
        {"error": "é\n" * 400_000},
        {"error": "\ud83d" * 300_000},
        {"nodes": [f"node-{number}" for number in range(100_000)]},
        {"nodes": {f"node-{number}": "x" * 100 for number in range(10_000)}},
        {f"field{number}": "x" * 10_000 for number in range(100)},
        {f"field{number}": "x" for number in range(100_000)},
        {"tree": [[["x" * 50] * 60] * 60] * 60},
    ],
    ids=["text", "escapes", "unencodable", "list", "mapping", "fields", "names", "tree"],
)
def test_a_huge_entry_is_cut_and_says_so(extra: dict[str, Any]) -> None:
    line = write("a sentence", taskId="task-1", trace=TRACE, **extra)

    assert len(line.encode()) <= logs.MAX_BYTES < LIMIT
    found = json.loads(line)
    assert (found["severity"], found["message"], found["truncated"]) == ("INFO", "a sentence", True)
    assert found["logging.googleapis.com/labels"] == {"taskId": "task-1", "function": "api"}
    assert found["logging.googleapis.com/trace"] == f"projects/my-project/traces/{TRACE}"


def test_of_a_cut_text_both_ends_are_kept() -> None:
    error = entry(error=f"begins {'x' * 300_000} ends")["error"]
    assert error.startswith("begins xxx")
    assert error.endswith("xxx ends")
    assert "characters ...]" in error
    assert len(entry("m" * 300_000)["message"]) < 20_000
    assert entry(taskId="t" * 10_000)["logging.googleapis.com/labels"]["taskId"] == "t" * 512


def test_an_entry_just_below_the_limit_is_whole() -> None:
    assert entry(error="x" * 200_000)["error"] == "x" * 200_000
    assert "truncated" not in entry(error="x" * 200_000)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Hostile),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(ANYTHING, st.text(), st.lists(ANYTHING, max_size=2))
def test_whatever_is_logged_makes_an_entry(value: Any, message: str, args: list[Any]) -> None:
    assert "field" in entry(message, *args, field=value)


def test_an_entry_is_one_write() -> None:
    writes: list[str] = []

    class Stream(StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    handler = logging.StreamHandler(Stream())
    handler.setFormatter(JsonFormatter("my-project", "api"))
    handler.handle(logging.LogRecord("a", logging.ERROR, "a.py", 1, "two\nlines", (), crash()))

    (written,) = writes
    assert written.endswith("}\n")
    assert written.count("\n") == 1


PROLOGUE = """
import logging, sys, threading, warnings
from ips_common import logs
logs.configure(level="INFO", log_format="json", project="my-project", function="api")
"""


def run(code: str, *arguments: str, **environment: str) -> tuple[list[dict[str, Any]], str]:
    """Run a program; returns what it logged and what else it wrote."""
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
        timeout=60,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def test_what_nothing_catches_is_an_entry_and_not_lines_of_text() -> None:
    entries, rest = run(
        PROLOGUE
        + """
def fail(): raise RuntimeError("in a thread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
warnings.warn("this is old", DeprecationWarning, stacklevel=1)
own = logging.getLogger("gunicorn.error")
own.propagate = False
own.addHandler(logging.StreamHandler(sys.stderr))  # as gunicorn does when it starts
own.error("Error handling request %s", "/")
raise ValueError("at the end")
"""
    )

    assert rest == ""
    assert [(found["severity"], found["logger"]) for found in entries] == [
        ("CRITICAL", "ips_common.logs"),
        ("WARNING", "py.warnings"),
        ("ERROR", "gunicorn.error"),
        ("CRITICAL", "ips_common.logs"),
    ]
    assert "RuntimeError: in a thread" in entries[0]["stack_trace"]
    assert "this is old" in entries[1]["message"]
    assert entries[2]["message"] == "Error handling request /"
    assert entries[3]["stack_trace"].endswith("ValueError: at the end")


FUNCTION = (
    PROLOGUE
    + """
import functions_framework

@functions_framework.http
def broken(request):
    logging.getLogger("mine").warning("about to\\nfail", extra={"taskId": "task-1"})
    raise RuntimeError("nothing catches this")
"""
)

SERVE = """
import sys, functions_framework as ff
answer = ff.create_app("broken", sys.argv[1]).test_client().get("/", headers={"Function-Execution-Id": "abc"})
assert answer.status_code == 500
"""


@pytest.mark.parametrize("execution_ids", ["true", "false"])
def test_so_is_what_a_function_raises_with_and_without_execution_ids(tmp_path: Path, execution_ids: str) -> None:
    (source := tmp_path / "main.py").write_text(FUNCTION)

    entries, rest = run(SERVE, str(source), LOG_EXECUTION_ID=execution_ids)

    assert rest == ""
    warning, error = entries
    assert (warning["message"], warning["severity"]) == ("about to\nfail", "WARNING")
    assert warning["logging.googleapis.com/labels"] == {"taskId": "task-1", "function": "api"}
    assert error["severity"] == "ERROR"
    assert "RuntimeError: nothing catches this" in error["stack_trace"]
