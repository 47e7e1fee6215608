"""What the audit found, and whether a release can go out with it."""

import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.release.errors import ReleaseError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accepted(_Strict):
    """A vulnerability that is known and accepted until a day, that day included."""

    id: str = Field(min_length=1)
    package: str = Field(min_length=1)
    reason: str = Field(min_length=10)
    until: date


class _AcceptedFile(_Strict):
    accepted: tuple[Accepted, ...] = ()


class Vulnerability(BaseModel):
    """One known vulnerability of one package, as pip-audit reports it."""

    id: str
    aliases: tuple[str, ...] = ()
    fix_versions: tuple[str, ...] = ()


class Audited(BaseModel):
    """One package of pip-audit's report; without a version it was not looked up."""

    name: str
    version: str | None = None
    skip_reason: str | None = None
    vulns: tuple[Vulnerability, ...] = ()


class Report(BaseModel):
    """pip-audit's report."""

    dependencies: tuple[Audited, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """The packages that the service was asked about and knew nothing of."""
        return tuple(each.name for each in self.dependencies if each.skip_reason)


def load_accepted(path: Path) -> tuple[Accepted, ...]:
    """Return what is accepted.

    Raises:
        ReleaseError: an entry lacks a reason or an end.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        return _AcceptedFile.model_validate(content).accepted
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ReleaseError(f"{path.name} is wrong: {error}") from error


def objections(report: Report, accepted: Sequence[Accepted], today: date) -> tuple[str, ...]:
    """Return what stands against a release, one line each."""
    lines = []
    for package in report.dependencies:
        for found in package.vulns:
            names = {found.id, *found.aliases}
            known = [each for each in accepted if each.package == package.name and each.id in names]
            if any(today <= each.until for each in known):
                continue
            fixed = f"fixed in {', '.join(found.fix_versions)}" if found.fix_versions else "no version has a fix"
            also = f" ({', '.join(found.aliases)})" if found.aliases else ""
            ended = f"; accepted until {max(each.until for each in known)} only" if known else ""
            lines.append(f"{package.name} {package.version}: {found.id}{also}, {fixed}{ended}")
    return tuple(lines)


def needless(report: Report, accepted: Sequence[Accepted]) -> tuple[Accepted, ...]:
    """Return what is accepted though it is not found any more."""
    found = {(each.name, name) for each in report.dependencies for v in each.vulns for name in (v.id, *v.aliases)}
    return tuple(each for each in accepted if (each.package, each.id) not in found)
