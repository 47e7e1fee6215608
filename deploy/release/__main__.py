"""The command line: `python -m deploy.release package|audit|version`."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from deploy.release.errors import ReleaseError
from deploy.release.package import build, describe
from deploy.release.tools import ROOT
from ips_common import __version__


def main(arguments: list[str]) -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release")
    commands = parser.add_subparsers(dest="command", required=True)
    package = commands.add_parser("package", help="what is uploaded to Cloud Run functions, with its bill of materials")
    package.add_argument("--uncommitted", action="store_true", help="pack what lies there, committed or not")
    package.add_argument("--target", type=Path, default=ROOT / "dist", help="where to put it (dist)")
    commands.add_parser("audit", help="known vulnerabilities of the locked packages")
    commands.add_parser("version", help="the version of this source")
    given = parser.parse_args(arguments)
    try:
        match given.command:
            case "package":
                return _package(given.target, uncommitted=given.uncommitted)
            case "audit":
                return _audit(required=os.environ.get("IPS_AUDIT") == "required")
            case _:
                sys.stdout.write(f"{__version__}\n")
                return 0
    except ReleaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _audit(*, required: bool) -> int:
    # The other commands work without any package, before `make setup`.
    from deploy.release.audit import ACCEPTED, audit  # noqa: PLC0415
    from deploy.release.findings import load_accepted  # noqa: PLC0415

    return audit(None, load_accepted(ACCEPTED), datetime.now(UTC).date(), required=required)


def _package(target: Path, *, uncommitted: bool) -> int:
    package = build(ROOT, target, uncommitted_too=uncommitted)
    bill = describe(package, ROOT)
    sys.stdout.write(
        f"bill of materials: {bill}\n"
        f"{package.files} files, {package.size} bytes: {package.archive}\n"
        f"sha256 {package.digest}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
