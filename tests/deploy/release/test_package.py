import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from deploy.local.parts import ROOT
from deploy.release.archive import write_archive
from deploy.release.errors import ReleaseError
from deploy.release.package import build
from deploy.release.secret import find_secret
from ips_common import __version__
from ips_common.topology import load_topology
from tests.deploy.release.conftest import PROJECT, Start, git, wait_until_healthy

FUNCTIONS = sorted(load_topology(ROOT / "infra" / "topology.yaml").functions)
TERRAFORM = (ROOT / "infra" / "functions.tf").read_text("utf-8")


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


def set_by_terraform(name: str) -> str:
    (value,) = re.findall(rf'\b{name}\s*= "([^"]*)"', TERRAFORM)
    return str(value)


def test_the_package_holds_the_sources_and_what_they_are_built_with(project: Path, tmp_path: Path) -> None:
    package = build(project, tmp_path / "dist")
    with zipfile.ZipFile(package.archive) as archive:
        names = archive.namelist()
    assert package.archive.name == f"ips-{__version__}.zip"
    assert {name.partition("/")[0] for name in names} == {"functions", "ips_common", "requirements.txt", "LICENSE"}
    assert {Path(name).suffix for name in names} == {".py", ".txt", ""}
    committed = git(project, "ls-files", "functions", "ips_common").split()
    assert sorted(names) == names == sorted([*committed, "requirements.txt", "LICENSE"])


def test_every_clone_makes_the_same_package(project: Path, tmp_path: Path) -> None:
    digests = set()
    for number, umask in enumerate((0o022, 0o077)):
        before = os.umask(umask)
        try:
            clone = tmp_path / f"clone{number}"
            git(tmp_path, "clone", "--quiet", str(project), str(clone))
            for file in clone.rglob("*.py"):
                os.utime(file, (1_000_000_000 * (number + 1),) * 2)
            (clone / "functions" / "api" / "__pycache__").mkdir()
            (clone / "functions" / "api" / "__pycache__" / f"main.cpython-31{number}.pyc").write_bytes(b"")
            digests.add(build(clone, tmp_path / f"dist{number}").digest)
        finally:
            os.umask(before)
    assert len(digests) == 1


def test_other_content_is_another_package(project: Path, tmp_path: Path) -> None:
    first = build(project, tmp_path / "first")
    (project / "functions" / "api" / "app.py").write_text('"""Something new."""\n')
    git(project, "commit", "--quiet", "--all", "--message", "something new")
    assert build(project, tmp_path / "second").digest != first.digest


def test_what_is_not_on_the_list_is_refused_by_name(project: Path, tmp_path: Path) -> None:
    for stray in ("functions/api/.env", "ips_common/key.json", "functions/notes.txt", "ips_common/a/b.pem"):
        (project / stray).parent.mkdir(exist_ok=True)
        (project / stray).write_text("")
        with pytest.raises(ReleaseError, match=re.escape(stray)):
            build(project, tmp_path, uncommitted_too=True)
        (project / stray).unlink()


def test_a_link_is_refused(project: Path, tmp_path: Path) -> None:
    (project / "functions" / "link.py").symlink_to("/etc/hostname")
    with pytest.raises(ReleaseError, match="functions/link"):
        build(project, tmp_path, uncommitted_too=True)


def test_a_list_that_lets_everything_in_is_refused(project: Path, tmp_path: Path) -> None:
    (project / ".dockerignore").write_text("*.pem\n")
    with pytest.raises(ReleaseError, match="allow-list"):
        build(project, tmp_path)


@pytest.mark.parametrize("change", ["changed", "new", "gone"])
def test_what_is_not_committed_is_packed_only_when_asked_to(project: Path, tmp_path: Path, change: str) -> None:
    file = project / "functions" / "api" / ("app.py" if change != "new" else "more.py")
    if change == "gone":
        file.unlink()
    else:
        file.write_text('"""Tried out."""\n')
    with pytest.raises(ReleaseError, match=f"functions/api/{file.name}"):
        build(project, tmp_path)
    assert build(project, tmp_path, uncommitted_too=True).archive.name == f"ips-{__version__}-uncommitted.zip"


def test_terraform_uploads_the_package_as_it_is_and_packs_none_of_its_own() -> None:
    source = (ROOT / "infra" / "source.tf").read_text("utf-8")
    assert re.findall(r"^  source = (.*)$", source, re.MULTILINE) == ["var.source_archive"]
    for file in (ROOT / "infra").rglob("*.tf"):
        assert "archive_file" not in file.read_text("utf-8"), file


SECRETS = {
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "a service account's key": '{"private' + '_key": "..."}',
    "a Google API key": "AI" + "za" + "B" * 35,
    "a Google access token": "ya" + "29." + "c" * 30,
    "an AWS access key": "AK" + "IA" + "D" * 16,
    "a GitHub token": "gh" + "p_" + "e" * 36,
    "a GitLab token": "glp" + "at-" + "f" * 20,
    "a Slack token": "xo" + "xb-" + "1" * 12,
    "a signed token": "ey" + "J" + "g" * 20 + ".eyJ" + "h" * 20 + "." + "i" * 20,
    "a password in a URL": "https://user" + ":word@host/",
}


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_is_refused_and_not_repeated(tmp_path: Path, what: str) -> None:
    (tmp_path / "settings.py").write_text(f"VALUE = '{SECRETS[what]}'\n")
    with pytest.raises(ReleaseError, match=f"settings.py seems to hold {what}") as refused:
        write_archive(tmp_path / "out.zip", tmp_path, ["settings.py"])
    assert SECRETS[what] not in str(refused.value)
    assert not (tmp_path / "out.zip").exists()


def test_nothing_that_is_committed_holds_a_secret_but_the_tests() -> None:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no history here, so nothing tells what is committed")
    files = [name for name in done.stdout.split("\0") if name and not name.startswith("tests/")]
    assert len(files) > 100
    found = {name: find_secret((ROOT / name).read_bytes()) for name in files if (ROOT / name).is_file()}
    assert {name: what for name, what in found.items() if what} == {}


def test_each_function_is_built_and_started_from_the_package_alone(
    project: Path, python: Path, start: Start, tmp_path: Path
) -> None:
    workspace = unpacked(build(project, tmp_path / "dist").archive, tmp_path / "workspace")
    # What the buildpack runs on the whole upload, and what it starts.
    subprocess.run([python, "-m", "compileall", "-f", "-q", "."], cwd=workspace, check=True)
    running = {}
    for name in FUNCTIONS:
        (runtime_dir := tmp_path / f"{name}-run").mkdir()
        source = set_by_terraform("GOOGLE_FUNCTION_SOURCE").replace("${each.key}", name)
        env = {
            **PROJECT,
            "FUNCTION_TARGET": name,
            "FUNCTION_SOURCE": source,
            "PYTHONPATH": set_by_terraform("PYTHONPATH").replace("/workspace", str(workspace)),
            "IPS_FUNCTION": name,
            "THREADS": "2",
            "XDG_RUNTIME_DIR": str(runtime_dir),
        }
        running[name] = start(name, [str(python.with_name("functions-framework"))], env, workspace)
    assert len(running) == 5
    for process, port in running.values():
        wait_until_healthy(process, port)
