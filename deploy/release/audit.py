"""Looks the locked packages up in the index's list of known vulnerabilities.

A service that does not answer, or that knows none of the packages, has not audited anything: then one line says so, and
`IPS_AUDIT=required` makes it a failure. pip-audit alone would call that "no known vulnerabilities".
"""

import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import ValidationError

from deploy.release import tools
from deploy.release.errors import ReleaseError
from deploy.release.findings import Accepted, Report, needless, objections

ACCEPTED = Path(__file__).with_name("accepted.toml")
"""What does not stop a release."""

_REQUEST_SECONDS = "5"
_SECONDS = 60.0
"""For all packages together; usually some seconds, less when asked again soon."""


class NotAudited(Exception):
    """Nothing was looked up; the message says why."""


def command() -> tuple[str, ...]:
    """Return how pip-audit is called on the locked packages.

    Raises:
        ReleaseError: it cannot be installed.
    """
    program = tools.interpreter().with_name("pip-audit")
    cache = tools.FOLDER / "audit-cache"
    cache.mkdir(parents=True, exist_ok=True)
    options = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--timeout", _REQUEST_SECONDS)
    return (str(program), *options, "--cache-dir", str(cache), "-r", str(tools.ROOT / "requirements.txt"))


def run(pip_audit: Sequence[str], seconds: float = _SECONDS) -> Report:
    """Return what pip-audit reports.

    Raises:
        NotAudited: it could not look the packages up within `seconds`.
    """
    try:
        done = subprocess.run(
            [*pip_audit, "--format", "json", "--desc", "off"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotAudited(f"the service took longer than {seconds:g} s") from error
    try:
        report = Report.model_validate_json(done.stdout)
    except ValidationError as error:
        last = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        raise NotAudited(last) from error
    if len(report.unknown) == len(report.dependencies):
        raise NotAudited(f"the service knows none of the {len(report.dependencies)} packages")
    return report


def judge(report: Report, accepted: Sequence[Accepted], today: date, *, required: bool) -> tuple[int, str]:
    """Return the exit status and what to say."""
    lines = [f"accepted but not found any more: {each.id} of {each.package}" for each in needless(report, accepted)]
    against = objections(report, accepted, today)
    total, unknown = len(report.dependencies), report.unknown
    if unknown:
        lines.append(f"NOT audited, {len(unknown)} of {total} packages, unknown to the service: {', '.join(unknown)}")
    if against:
        return 1, "\n".join([*lines, "known vulnerabilities:", *against])
    lines.append(f"audit: no vulnerability that is not accepted is known of {total - len(unknown)} packages")
    return int(bool(unknown) and required), "\n".join(lines)


def audit(pip_audit: Sequence[str] | None, accepted: Sequence[Accepted], today: date, *, required: bool) -> int:
    """Audit the locked packages, say what came of it and return the exit status.

    Args:
        pip_audit: how to call it; none if it is to be installed first.
        accepted: what does not stop a release.
        today: the day that acceptances are held against.
        required: whether an audit that cannot be made is a failure.
    """
    try:
        report = run(pip_audit or command())
    except (NotAudited, ReleaseError) as error:
        sys.stderr.write(f"the audit of dependencies was NOT made: {error}\n")
        return int(required)
    status, text = judge(report, accepted, today, required=required)
    (sys.stderr if status else sys.stdout).write(f"{text}\n")
    return status
