"""What HTTP adds to every route: ids, compression, methods, failures."""

import gzip
import json
import logging
import re

import pytest
from werkzeug import Request
from werkzeug.test import EnvironBuilder

from functions.api.callers import Caller
from functions.api.identity import remote_ip
from ips_common.errors import BusUnavailable, ConfigError, Contention
from ips_common.logs import JsonFormatter
from ips_common.models.task import Task
from tests.unit.api.conftest import TASKS, Api, problem

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def fail_with(error: Exception) -> Api:
    def cancel(task_id: str, **ports: object) -> Task:
        del task_id, ports
        raise error

    return Api(deps={"cancel": cancel})


class TestRequestId:
    def test_is_taken_from_the_caller(self, api: Api) -> None:
        assert api.get("/health", **{"X-Request-Id": "release-42.a_b"}).headers["X-Request-Id"] == "release-42.a_b"

    @pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>", "é", "-a"])
    def test_is_made_anew_if_the_callers_is_not_sane(self, api: Api, given: str) -> None:
        made = api.get("/health", **{"X-Request-Id": given}).headers["X-Request-Id"]

        assert len(made) == 32
        assert int(made, 16)

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),
            ("X-Cloud-Trace-Context", f"{TRACE}/123;o=1"),
            ("X-Cloud-Trace-Context", TRACE),
        ],
    )
    def test_is_else_the_trace(self, api: Api, header: str, value: str) -> None:
        assert api.get("/health", **{header: value}).headers["X-Request-Id"] == TRACE

    @pytest.mark.parametrize("value", [f"00-{'0' * 32}-00f067aa0ba902b7-01", "garbage", f"00-{TRACE}"])
    def test_is_not_a_broken_trace(self, api: Api, value: str) -> None:
        made = api.get("/health", traceparent=value).headers["X-Request-Id"]

        assert made not in {TRACE, "0" * 32}
        assert len(made) == 32

    def test_is_new_for_every_request(self, api: Api) -> None:
        assert len({api.get("/health").headers["X-Request-Id"] for _ in range(20)}) == 20

    @pytest.mark.parametrize("path", ["/health", "/nowhere", f"{TASKS}/none", f"{TASKS}?limit=0", "/metrics"])
    def test_is_on_every_answer(self, api: Api, path: str) -> None:
        for method in ("GET", "PUT", "OPTIONS", "HEAD"):
            answer = api.client.open(path, method=method, headers={"X-Request-Id": "mine"})
            assert answer.headers["X-Request-Id"] == "mine"


class TestCompression:
    def test_long_answers_are_gzipped_when_asked(self, api: Api) -> None:
        plain = api.get("/openapi.json")
        packed = api.get("/openapi.json", **{"Accept-Encoding": "br, gzip;q=0.5"})

        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.get_data()) == plain.get_data()
        assert packed.content_length == len(packed.get_data()) < len(plain.get_data())
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert "Accept-Encoding" in plain.headers["Vary"]

    @pytest.mark.parametrize("accept", ["", "identity", "br", "gzip;q=0", "*;q=0"])
    def test_nothing_is_gzipped_unasked(self, api: Api, accept: str) -> None:
        assert "Content-Encoding" not in api.get("/openapi.json", **{"Accept-Encoding": accept}).headers

    def test_short_answers_are_left_alone(self, api: Api) -> None:
        assert "Content-Encoding" not in api.get("/health", **{"Accept-Encoding": "gzip"}).headers


class TestMethodsAndPaths:
    @pytest.mark.parametrize(
        "path", ["/", "/api", "/api/v1", f"{TASKS}/", "/health/", f"{TASKS}/a/b/c", "/API/V1/TASKS", "/%00", "/%ff"]
    )
    def test_an_unknown_path_is_not_found(self, api: Api, path: str) -> None:
        problem(api.get(path), 404, "not-found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", TASKS, {"GET", "HEAD", "OPTIONS", "POST"}),
            ("DELETE", TASKS, {"GET", "HEAD", "OPTIONS", "POST"}),
            ("POST", f"{TASKS}/x", {"DELETE", "GET", "HEAD", "OPTIONS"}),
            ("PATCH", f"{TASKS}/x/nodes", {"GET", "HEAD", "OPTIONS"}),
            ("TRACE", "/health", {"GET", "HEAD", "OPTIONS"}),
            ("BREW", "/health", {"GET", "HEAD", "OPTIONS"}),
        ],
    )
    def test_a_wrong_method_is_told_the_right_ones(self, api: Api, method: str, path: str, allowed: set[str]) -> None:
        answer = api.client.open(path, method=method)

        problem(answer, 405, "method-not-allowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed

    def test_options_names_the_methods(self, api: Api) -> None:
        answer = api.client.options(TASKS)

        assert answer.status_code == 200
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}

    def test_head_is_get_without_a_body(self, api: Api) -> None:
        task_id = api.create()
        full, head = api.get(f"{TASKS}/{task_id}"), api.client.head(f"{TASKS}/{task_id}")

        assert (head.status_code, head.content_length, head.get_data()) == (200, full.content_length, b"")

    @pytest.mark.parametrize(("alias", "path"), [("/healthz", "/health"), ("/readyz", "/ready")])
    def test_aliases_answer_the_same(self, api: Api, alias: str, path: str) -> None:
        assert api.get(alias).get_json()["status"] == api.get(path).get_json()["status"]

    def test_probes_and_scrapers_may_add_parameters(self, api: Api) -> None:
        for path in ("/health", "/ready", "/metrics", "/openapi.json"):
            assert api.get(f"{path}?probe=1").status_code == 200


class TestFailures:
    def test_an_unexpected_one_tells_nothing_and_is_logged_as_one_entry(self, caplog: pytest.LogCaptureFixture) -> None:
        api = fail_with(RuntimeError("the password is hunter2"))

        answer = api.client.delete(f"{TASKS}/task-1")

        document = problem(answer, 500, "internal")
        assert "hunter2" not in answer.get_data(as_text=True)
        assert set(document) == {"type", "title", "status", "code", "detail", "instance", "requestId"}
        entry = next(record for record in caplog.records if record.levelno == logging.ERROR)
        written = JsonFormatter("project", "api").format(entry)
        assert "\n" not in written
        assert "RuntimeError: the password is hunter2" in json.loads(written)["stack_trace"]

    def test_the_unexpected_of_our_own_tells_nothing_either(self) -> None:
        document = problem(
            fail_with(ConfigError("IPS_SECRET is wrong")).client.delete(f"{TASKS}/task-1"), 500, "config"
        )

        assert "IPS_SECRET" not in document["detail"]

    @pytest.mark.parametrize(
        ("error", "code", "seconds"),
        [(BusUnavailable("gone", retry_after=7.2), "bus-unavailable", "8"), (Contention("busy"), "contention", "5")],
    )
    def test_what_may_work_later_says_when(self, error: Exception, code: str, seconds: str) -> None:
        answer = fail_with(error).client.delete(f"{TASKS}/task-1")

        problem(answer, 503, code)
        assert answer.headers["Retry-After"] == seconds

    @pytest.mark.parametrize(
        "path", [TASKS, f"{TASKS}/a", f"{TASKS}/a/nodes", f"{TASKS}/a/gate", "/api/v1/predictions"]
    )
    def test_every_route_says_that_the_store_is_away(self, api: Api, path: str) -> None:
        api.store.down = True

        problem(api.get(path), 503, "store-unavailable")


class TestCallers:
    def test_a_reader_may_not_change_anything(self) -> None:
        api = Api(deps={"authenticate": lambda request: Caller(name=request.remote_addr, may_write=False)})

        problem(api.post(), 403, "read-only")
        problem(api.client.delete(f"{TASKS}/task-1"), 403, "read-only")
        assert api.get(TASKS).status_code == 200

    def test_a_writer_is_recorded(self) -> None:
        api = Api(deps={"authenticate": lambda request: Caller(name=request.headers["X-Me"], may_write=True)})

        assert api.post(headers={"X-Me": "ada"}).get_json()["createdBy"] == "ada"

    def test_two_callers_do_not_meet_in_one_idempotency_key(self) -> None:
        api = Api(deps={"authenticate": lambda request: Caller(name=request.headers["X-Me"], may_write=True)})

        answers = [api.post(headers={"X-Me": who, "Idempotency-Key": "k"}) for who in ("ada", "bob", "ada")]

        assert [answer.status_code for answer in answers] == [201, 201, 200]


class Kept(logging.Handler):
    """Formats entries where they are made, as a stream would."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("project", "api"))
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def test_every_entry_of_a_request_carries_its_id(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen: list[str] = []
    handler = Kept(seen)
    logging.getLogger().addHandler(handler)
    try:
        api.post(headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    finally:
        logging.getLogger().removeHandler(handler)

    entries = [json.loads(line) for line in seen]
    assert {entry["logging.googleapis.com/labels"]["requestId"] for entry in entries} == {TRACE}
    assert {entry["logging.googleapis.com/trace"] for entry in entries} == {f"projects/project/traces/{TRACE}"}
    assert {entry["logging.googleapis.com/spanId"] for entry in entries} == {"00f067aa0ba902b7"}
    assert {entry["logging.googleapis.com/trace_sampled"] for entry in entries} == {True}
    access = entries[-1]["httpRequest"]
    assert re.fullmatch(r"[0-9]+\.[0-9]{1,9}s", access["latency"])
    assert (access["requestMethod"], access["requestUrl"], access["status"]) == ("POST", TASKS, 201)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("169.254.169.126", "203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "8.8.8.8, 2001:db8::1", "2001:db8::1"),
        ("169.254.169.126", "not an address", "169.254.169.126"),
        ("169.254.169.126", "", "169.254.169.126"),
        ("1.1.1.1", "8.8.8.8", "1.1.1.1"),
    ],
)
def test_the_address_logged_is_that_which_the_front_end_saw(peer: str, forwarded: str, expected: str) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = Request(EnvironBuilder(headers=list(headers.items()), environ_base={"REMOTE_ADDR": peer}).get_environ())

    assert remote_ip(request) == expected
