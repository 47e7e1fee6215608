"""The files of a release: the package, its bill of materials and their digests."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.release import tools
from deploy.release.allowlist import deployed, matches, patterns
from deploy.release.archive import write_archive
from deploy.release.commit import uncommitted
from deploy.release.errors import ReleaseError
from deploy.release.lockfile import PROJECT
from ips_common import __version__


@dataclass(frozen=True)
class Package:
    """What was made."""

    archive: Path
    files: int
    size: int
    digest: str


def build(root: Path, target: Path, *, uncommitted_too: bool = False) -> Package:
    """Make the package of `root` in the folder `target`.

    Raises:
        ReleaseError: a file must not be in it, or is not as it was committed.
    """
    files = deployed(root)
    allowed = patterns(root)
    changed = uncommitted(root, files, lambda file: any(matches(pattern, file) for pattern in allowed))
    if changed and not uncommitted_too:
        raise ReleaseError(
            f"not as committed: {', '.join(changed)}. A release is made of a commit; "
            "`make package ARGS=--uncommitted` packs what lies there"
        )
    archive = target / f"{PROJECT}-{__version__}{'-uncommitted' if changed else ''}.zip"
    write_archive(archive, root, files)
    content = archive.read_bytes()
    return Package(archive, len(files), len(content), hashlib.sha256(content).hexdigest())


def describe(package: Package, root: Path) -> Path:
    """Write the bill of materials beside the package, and the digests of both; return where the bill is.

    Raises:
        ReleaseError: it could not be made.
    """
    done = subprocess.run(
        [str(tools.interpreter()), "-m", "deploy.release.sbom", str(root / "requirements.txt"), package.digest],
        cwd=tools.ROOT,
        env={"PYTHONPATH": str(tools.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ReleaseError(f"no bill of materials: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
    bill = package.archive.with_suffix(".cdx.json")
    bill.write_text(done.stdout, "utf-8")
    digests = {package.archive: package.digest, bill: hashlib.sha256(bill.read_bytes()).hexdigest()}
    lines = [f"{digest}  {file.name}\n" for file, digest in digests.items()]
    package.archive.with_suffix(".sha256").write_text("".join(lines), "utf-8")
    return bill
