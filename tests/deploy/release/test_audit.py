import http.server
import json
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from deploy.release.audit import ACCEPTED, audit, command
from deploy.release.errors import ReleaseError
from deploy.release.findings import Accepted, load_accepted
from deploy.release.lockfile import parse
from deploy.release.tools import REQUIREMENTS, ROOT

TODAY = date(2026, 11, 24)
VULNERABLE = {
    "name": "flask",
    "version": "3.0.0",
    "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1", "GHSA-aaaa"], "fix_versions": ["3.0.1", "3.1.0"]}],
}
SOUND = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
UNKNOWN = {"name": "grpcio", "skip_reason": "Dependency not found on PyPI and could not be audited: grpcio (1.0)"}


def accepted(until: date = TODAY, package: str = "flask", name: str = "GHSA-aaaa") -> Accepted:
    return Accepted(id=name, package=package, reason="the function that it is about is never called", until=until)


def reporting(*dependencies: dict[str, Any], status: int = 0) -> list[str]:
    """A program that answers as pip-audit does."""
    report = json.dumps({"dependencies": dependencies, "fixes": []})
    return [sys.executable, "-c", f"import sys; print({report!r}); sys.exit({status})"]


def made(pip_audit: list[str], *known: Accepted, required: bool = False) -> int:
    return audit(pip_audit, known, TODAY, required=required)


def test_what_is_known_of_no_package_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(reporting(SOUND), required=True) == 0
    assert capsys.readouterr().out == "audit: no vulnerability that is not accepted is known of 1 packages\n"


def test_a_vulnerability_fails_with_package_names_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(reporting(SOUND, VULNERABLE, status=1)) == 1
    assert "flask 3.0.0: PYSEC-2026-1 (CVE-2026-1, GHSA-aaaa), fixed in 3.0.1, 3.1.0" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["PYSEC-2026-1", "CVE-2026-1"])
def test_an_accepted_one_passes_under_any_of_its_names_until_its_day(name: str) -> None:
    assert made(reporting(VULNERABLE, status=1), accepted(name=name)) == 0


def test_after_its_day_it_fails_and_so_does_that_of_another_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(reporting(VULNERABLE, status=1), accepted(until=date(2026, 11, 23))) == 1
    assert "accepted until 2026-11-23 only" in capsys.readouterr().err
    assert made(reporting(VULNERABLE, status=1), accepted(package="aiohttp")) == 1


def test_what_is_accepted_without_need_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(reporting(SOUND), accepted()) == 0
    assert "accepted but not found any more: GHSA-aaaa of flask" in capsys.readouterr().out


def test_a_service_that_knows_no_package_has_audited_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(reporting(UNKNOWN)) == 0
    said = capsys.readouterr()
    assert said.err == "the audit of dependencies was NOT made: the service knows none of the 1 packages\n"
    assert said.out == ""
    assert made(reporting(UNKNOWN), required=True) == 1


def test_a_package_that_the_service_does_not_know_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert made(reporting(SOUND, UNKNOWN)) == 0
    said = capsys.readouterr().out
    assert "NOT audited, 1 of 2 packages, unknown to the service: grpcio" in said
    assert "is known of 1 packages" in said
    assert made(reporting(SOUND, UNKNOWN), required=True) == 1


@pytest.mark.parametrize("required", [False, True])
def test_an_audit_that_breaks_off_was_not_made(required: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001 - a parameter of the test
    broken = [sys.executable, "-c", "import sys; sys.exit('ERROR: could not connect')"]
    assert made(broken, required=required) == int(required)
    assert capsys.readouterr().err == "the audit of dependencies was NOT made: ERROR: could not connect\n"


@pytest.mark.parametrize("missing", ["reason", "until", "package"])
def test_what_is_accepted_needs_a_reason_and_an_end(tmp_path: Path, missing: str) -> None:
    entry = {"id": '"CVE-1"', "package": '"flask"', "reason": '"it is never called"', "until": "2027-01-31"}
    (tmp_path / "accepted.toml").write_text(
        "[[accepted]]\n" + "".join(f"{name} = {value}\n" for name, value in entry.items() if name != missing)
    )
    with pytest.raises(ReleaseError, match=missing):
        load_accepted(tmp_path / "accepted.toml")


def test_the_list_of_what_is_accepted_can_be_read_and_so_can_its_example(tmp_path: Path) -> None:
    load_accepted(ACCEPTED)
    _, example = ACCEPTED.read_text("utf-8").split("#\n", 1)
    (tmp_path / "accepted.toml").write_text("\n".join(line.removeprefix("# ") for line in example.splitlines()))
    (entry,) = load_accepted(tmp_path / "accepted.toml")
    assert entry.until == date(2027, 1, 31)


def test_the_tools_are_locked_as_they_are_wanted() -> None:
    locked = {each.name: each.version for each in parse(REQUIREMENTS.read_text("utf-8"))}
    wanted = (ROOT / "deploy" / "release" / "requirements.in").read_text("utf-8").splitlines()
    for each in (Requirement(line.partition("#")[0]) for line in wanted):
        assert each.specifier.contains(locked[each.name]), each
    assert "://" not in REQUIREMENTS.read_text("utf-8")


class Service(http.server.ThreadingHTTPServer):
    """A vulnerability service that knows one vulnerability, of flask."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: set[str] = set()

    @property
    def options(self) -> tuple[str, ...]:
        return ("--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{self.server_address[1]}/v1/query")


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]
        assert isinstance(self.server, Service)
        self.server.asked.add(package["name"])
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}]
        known = {"id": "GHSA-bbbb", "aliases": ["CVE-2026-2"], "affected": [{"package": package, "ranges": ranges}]}
        answer = json.dumps({"vulns": [known]} if package["name"] == "flask" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's name
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_real_tool_looks_up_every_locked_package(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert made([*command(), *service.options]) == 1
    locked = {line.split("==")[0].split("[")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert service.asked == {name for name in locked if name[:1].isalpha()}
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "known vulnerabilities:"
    assert said[1].startswith("flask ")
    assert said[1].endswith(": CVE-2026-2 (GHSA-bbbb), fixed in 99.1")


def test_the_real_tool_without_its_service_has_audited_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ("--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:1/v1/query")
    assert made([*command(), *nowhere]) == 0
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("the audit of dependencies was NOT made: ")
    assert "127.0.0.1" in said
