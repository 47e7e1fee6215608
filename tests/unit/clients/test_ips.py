"""The command line against a service that answers what it is told, over HTTP."""

import contextlib
import io
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from clients import ips

IMAGE = "registry.example/shop/web:1.4.2"
GATE = {"state": "waiting", "completedNodes": 1, "totalNodes": 4, "failedNodes": 0, "status": "running"}
FAILURE = {"nodeName": "node-3", "image": IMAGE, "reason": "ImageNotFound", "message": "not found"}


@dataclass
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Scripted:
    """Answers one prepared answer after the other and keeps what was asked; the last one is repeated."""

    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    hold_gates: bool = False
    """Whether a gate is answered only after the seconds it was asked to wait, and a little more."""

    def answer(self, status: int, body: Any = None, **headers: str) -> None:
        self.answers.append((status, body, headers))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, output and messages of one command."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = ips.main(["--url", self.url, *arguments])
        return code, out.getvalue(), err.getvalue()


@pytest.fixture
def service() -> Iterator[Scripted]:
    scripted = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            scripted.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            if scripted.hold_gates:
                asked_for = parse_qs(urlsplit(self.path).query)["waitSeconds"][0]
                threading.Event().wait(float(asked_for) + 0.05)
            status, content, headers = scripted.answers[min(len(scripted.asked), len(scripted.answers)) - 1]
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the base class names them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield scripted
    server.shutdown()
    thread.join()
    server.server_close()


def test_prewarm_asks_for_what_the_options_say_and_waits_for_the_gate(service: Scripted) -> None:
    service.answer(201, {"taskId": "t-1"})
    service.answer(202, GATE)
    service.answer(200, {**GATE, "state": "open", "completedNodes": 4})
    code, out, err = service.run(
        "prewarm", IMAGE, "--select", "pool=web", "--batch-size", "2", "--min", "95%", "--set", '{"priority": 9}'
    )
    assert (code, out) == (0, "t-1\n")
    created, first, _ = service.asked
    assert created.body == {"images": [IMAGE], "nodeSelector": {"pool": "web"}, "batchSize": 2, "priority": 9}
    assert created.headers["Idempotency-Key"]
    assert first.path.startswith("/api/v1/tasks/t-1/gate?min=0.95&waitSeconds=10")
    assert "1 of 4 nodes ready" in err
    assert "4 of 4 nodes ready" in err


def test_a_service_that_is_busy_is_asked_again_under_the_same_key(service: Scripted) -> None:
    service.answer(503, {"detail": "Firestore is away"}, Retry_After="0")
    service.answer(429, b"no JSON at all")
    service.answer(201, {"taskId": "t-1"})
    code, out, err = service.run("prewarm", IMAGE, "--no-wait")
    assert (code, out) == (0, "t-1\n")
    assert "503 Firestore is away" in err
    assert len({asked.headers["Idempotency-Key"] for asked in service.asked}) == 1
    assert len(service.asked) == 3


def test_a_gate_that_is_shut_says_which_nodes_failed_and_why(service: Scripted) -> None:
    service.answer(409, {"detail": "too few", "gate": {**GATE, "state": "shut", "failedNodes": 1}})
    service.answer(200, {"errorMessage": "1 of 4 nodes failed", "failedNodeDetails": [FAILURE]})
    code, _, err = service.run("gate", "t-1")
    assert code == 1
    assert f"node-3: {IMAGE}: ImageNotFound: not found" in err
    assert "1 of 4 nodes failed" in err


def test_a_refused_request_names_its_fields(service: Scripted) -> None:
    service.answer(422, {"detail": "wrong", "errors": [{"field": "images[0]", "message": "no image"}]})
    code, out, err = service.run("prewarm", "??")
    assert (code, out) == (2, "")
    assert "images[0]: no image" in err


def test_a_task_that_does_not_get_ready_in_time_is_told_apart_from_one_that_failed(service: Scripted) -> None:
    service.answer(202, GATE)
    code, _, err = service.run("gate", "t-1", "--timeout", "0.2")
    assert code == 4
    assert "not ready in time" in err


def test_an_answer_that_comes_as_the_time_is_up_is_heard(service: Scripted) -> None:
    service.hold_gates = True
    service.answer(202, GATE)
    code, _, err = service.run("gate", "t-1", "--timeout", "1.3")
    assert code == 4
    assert "not ready in time" in err


@pytest.mark.parametrize("status", [201, 503])
def test_an_answer_that_breaks_off_is_asked_for_again(service: Scripted, status: int) -> None:
    service.answer(status, b'{"taskId"', Content_Length="1000", Connection="close")
    service.answer(201, {"taskId": "t-1"})
    code, out, _ = service.run("prewarm", IMAGE, "--no-wait")
    assert (code, out) == (0, "t-1\n")


def test_a_service_that_never_answers_is_given_up(service: Scripted) -> None:
    service.answer(503, {"detail": "away"})
    code, _, err = service.run("gate", "t-1", "--timeout", "0.4")
    assert code == 3
    assert "gives no answer: 503 away" in err


def test_nobody_there_is_given_up_too() -> None:
    code = ips.main(["--url", "http://127.0.0.1:9", "gate", "t-1", "--timeout", "0.4"])
    assert code == 3


def test_a_token_is_never_taken_along_by_a_redirect(service: Scripted) -> None:
    service.answer(302, b"", Location=f"{service.url}/elsewhere")
    code, _, _ = service.run("show", "t-1")
    assert code == 2
    assert [asked.path for asked in service.asked] == ["/api/v1/tasks/t-1"]


def test_lists_follow_their_pages(service: Scripted) -> None:
    service.answer(200, {"nodes": [{"nodeName": "a"}, {"nodeName": "b"}], "nextPageToken": "more"})
    service.answer(200, {"nodes": [{"nodeName": "c"}], "nextPageToken": None})
    code, out, _ = service.run("nodes", "t-1", "--status", "failed")
    assert code == 0
    assert [json.loads(line)["nodeName"] for line in out.splitlines()] == ["a", "b", "c"]
    assert "status=failed" in service.asked[1].path
    assert "pageToken=more" in service.asked[1].path


def test_a_list_ends_at_the_number_asked_for(service: Scripted) -> None:
    service.answer(200, {"tasks": [{"taskId": str(number)} for number in range(2)], "nextPageToken": "more"})
    _, out, _ = service.run("tasks", "--limit", "3")
    assert len(out.splitlines()) == 3


def test_cancelling_what_ended_another_way_is_not_done(service: Scripted) -> None:
    service.answer(409, {"detail": "the task is completed"})
    code, _, err = service.run("cancel", "t-1")
    assert code == 1
    assert "the task is completed" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["prewarm"],
        ["prewarm", IMAGE, "--min", "2"],
        ["prewarm", IMAGE, "--min", "many"],
        ["prewarm", IMAGE, "--select", "pool"],
        ["prewarm", IMAGE, "--set", "{"],
        ["prewarm", IMAGE, "--set", "[]"],
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_asked(service: Scripted, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        service.run(*arguments)
    assert stopped.value.code == 2
    assert service.asked == []


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ips.example"])
def test_an_address_that_is_none_is_named(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ips.main(["--url", url, "show", "t-1"]) == 2
    assert "say where the API answers" in capsys.readouterr().err
