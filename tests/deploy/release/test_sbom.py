import hashlib
import json
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.release.errors import ReleaseError
from deploy.release.lockfile import Locked, parse
from deploy.release.package import Package, build, describe
from deploy.release.tools import ROOT
from ips_common import __version__

LOCKED = parse((ROOT / "requirements.txt").read_text("utf-8"))


@pytest.fixture(scope="module")
def package(commit: Path, tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build(commit, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def bill(package: Package, commit: Path) -> Path:
    return describe(package, commit)


@pytest.fixture(scope="module")
def document(bill: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(bill.read_bytes())
    return content


def test_the_bill_is_of_this_package_and_version(document: dict[str, Any], package: Package) -> None:
    product = document["metadata"]["component"]
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert (product["name"], product["version"]) == ("ips", __version__)
    assert product["hashes"] == [{"alg": "SHA-256", "content": package.digest}]


def test_every_locked_package_is_in_it_once(document: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pinned = sorted(line.split()[0].partition("[")[0].partition("==")[0] for line in lines if line[:1].isalnum())
    assert len(pinned) > 50
    assert sorted(each["name"] for each in document["components"]) == pinned
    versions = {each.name: each.version for each in LOCKED}
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{versions[each['name']]}" for each in document["components"])


def test_it_says_what_needs_what(document: dict[str, Any]) -> None:
    edges = {each["ref"]: set(each.get("dependsOn", ())) for each in document["dependencies"]}
    named = {name: {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in refs} for name, refs in edges.items()}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert named["ips"] == {canonicalize_name(Requirement(each).name) for each in declared}
    for each in LOCKED:
        assert _needs(each.name) <= named[f"pkg:pypi/{each.name}@{each.version}"], each.name
    reached, todo = set(), ["ips"]
    while todo:
        reached.add(ref := todo.pop())
        todo.extend(edges[ref] - reached)
    assert reached == set(edges)


def _needs(name: str) -> set[str]:
    """What the installed package says it needs, extras aside."""
    try:
        needed = [Requirement(each) for each in requires(name) or ()]
    except PackageNotFoundError:
        return set()
    return {canonicalize_name(each.name) for each in needed if not each.marker or each.marker.evaluate({"extra": ""})}


def test_of_the_same_package_it_says_the_same(bill: Path, package: Package, commit: Path) -> None:
    before = bill.read_bytes()
    assert describe(package, commit).read_bytes() == before
    assert b"timestamp" not in before


def test_the_digests_are_written_beside_both(bill: Path, package: Package) -> None:
    lines = package.archive.with_suffix(".sha256").read_text("utf-8").splitlines()
    assert lines == [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in (package.archive, bill)
    ]


def test_lock_files_are_read_with_extras_markers_and_both_kinds_of_comments() -> None:
    text = (
        "google_api.core[grpc]==2.1 \\\n    --hash=sha256:00\n    # via\n"
        "    #   ips (pyproject.toml)\n    #   kubernetes\n"
        "cffi==2.1.1 ; implementation_name != 'PyPy' \\\n    --hash=sha256:00\n    # via cryptography\n"
    )
    assert parse(text) == (
        Locked("cffi", "2.1.1", everywhere=False, wanted_by=("cryptography",)),
        Locked("google-api-core", "2.1", everywhere=True, wanted_by=("ips", "kubernetes")),
    )


def test_a_lock_file_that_does_not_say_who_asked_is_refused() -> None:
    with pytest.raises(ReleaseError, match="cffi"):
        parse("cffi==2.1.1 \\\n    --hash=sha256:00\n")
