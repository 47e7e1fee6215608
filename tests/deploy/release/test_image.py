import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.parts import ROOT
from deploy.local.ports import HOST
from deploy.local.process import Process
from deploy.release.allowlist import matches, patterns
from deploy.release.package import build
from ips_common import __version__
from tests.deploy.release.conftest import PROJECT, Start, wait_until_healthy
from tests.deploy.release.dockerfile import Step, parse

VARIABLES = (ROOT / "infra" / "variables.tf").read_text("utf-8")
UNCHECKED_HASH = 1
"""The second word of bytecode that is taken as it is: PEP 552."""

DOCKERFILE = parse(ROOT / "deploy" / "Dockerfile")
BUILD, FINAL = DOCKERFILE.stages
GRACE_SECONDS = 10
"""Between SIGTERM and SIGKILL on Cloud Run; Kubernetes gives 30."""


@dataclass(frozen=True)
class Image:
    """What the build left in a folder that stands for the root of a container's file system."""

    root: Path

    def inside(self, text: str) -> str:
        """The text with the container's paths as they are on this machine."""
        return text.replace("/opt/ips", f"{self.root}/opt/ips").replace("/dev/shm", f"{self.root}/dev/shm")

    def environment(self) -> dict[str, str]:
        return {name: self.inside(value) for name, value in FINAL.environment().items()}

    @property
    def app(self) -> Path:
        return Path(self.inside(FINAL.one("WORKDIR").text))

    def command(self, *arguments: str) -> list[str]:
        entry, default = FINAL.one("ENTRYPOINT"), FINAL.one("CMD")
        return [*entry.command(), *(arguments or default.command())]

    def changes(self) -> dict[str, int]:
        """When each file and folder of the image last changed; a folder does when a file comes or goes."""
        below = self.root / "opt"
        found = (Path(folder) / name for folder, _, names in os.walk(below) for name in [".", *names])
        return {str(path): path.lstat().st_mtime_ns for path in found}


def context(project: Path) -> list[str]:
    """What a builder sends: every file that the ignore file lets through."""
    files = [path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()]
    return [file for file in files if any(matches(pattern, file) for pattern in patterns(project))]


def copy(step: Step, project: Path, workdir: Path) -> None:
    source, target = step.text.split()
    assert target.startswith("./")
    files = [file for file in context(project) if file == source or file.startswith(f"{source}/")]
    assert files, f"the builder finds no {source}"
    for file in files:
        to = workdir / target / Path(file).relative_to(source) if file != source else workdir / file
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project / file, to)


def built(project: Path, python: Path, root: Path, version: str = __version__) -> Image:
    """Run the steps of the build, except that packages are linked instead of downloaded and not compiled again."""
    image = Image(root)
    workdir = Path(image.inside(BUILD.one("WORKDIR").text))
    workdir.mkdir(parents=True)
    (root / "dev" / "shm").mkdir(parents=True)
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "VERSION": version}
    for step in BUILD.steps:
        if step.name == "COPY":
            copy(step, project, workdir)
        elif step.name == "RUN" and " -m pip " in step.text:
            site = next((root / "opt/ips/venv/lib").glob("python*/site-packages"))
            site.rmdir()
            site.symlink_to(next((python.parents[1] / "lib").glob("python*/site-packages")))
            script = python.with_name("functions-framework").read_text("utf-8")
            target = root / "opt/ips/venv/bin/functions-framework"
            target.write_text(script.replace(str(python), str(target.with_name("python"))), "utf-8")
            target.chmod(0o755)
        elif step.name == "RUN":
            command = image.inside(step.text)
            if "compileall" in command:
                assert command.endswith(f" {root}/opt/ips")
                command += "/app"
            subprocess.run(["sh", "-c", command], cwd=workdir, env=env, check=True, capture_output=True, text=True)
        else:
            assert step.name in {"WORKDIR", "ARG"}
    return image


@pytest.fixture(scope="module")
def image(commit: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return built(commit, python, tmp_path_factory.mktemp("image"))


def test_the_image_holds_what_the_package_holds(image: Image, commit: Path, tmp_path: Path) -> None:
    inside = {
        path.relative_to(image.app).as_posix(): path.read_bytes()
        for path in image.app.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(build(commit, tmp_path / "dist").archive) as package:
        assert inside == {name: package.read(name) for name in package.namelist()}


def test_no_builder_gets_what_is_not_on_the_list(project: Path) -> None:
    before = context(project)
    for stray in (
        ".env",
        "functions/api/.env",
        "ips_common/key.json",
        "terraform.tfstate",
        "tests.py",
        "deploy/main.py",
    ):
        (project / stray).write_text("secret")
    assert context(project) == before
    assert {file.partition("/")[0] for file in before} == {"functions", "ips_common", "requirements.txt", "LICENSE"}


def test_the_list_of_what_is_deployed_is_what_builders_read() -> None:
    # A builder prefers a list beside the Dockerfile, and would then not see this one.
    assert not (ROOT / "deploy" / "Dockerfile.dockerignore").exists()
    assert patterns(ROOT)


def test_all_of_the_source_is_compiled_and_the_bytecode_needs_no_times(image: Image) -> None:
    sources = list(image.app.rglob("*.py"))
    assert len(sources) > 100
    for source in sources:
        (bytecode,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        assert bytecode.read_bytes()[4:8] == UNCHECKED_HASH.to_bytes(4, "little"), source


def test_another_version_than_the_label_says_is_not_built(commit: Path, python: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        built(commit, python, tmp_path / "root", version="0.0.0")
    assert "VERSION is not that of the source" in refused.value.stderr
    assert FINAL.labels()["org.opencontainers.image.version"] == "${VERSION}"


@pytest.mark.parametrize(
    "lost",
    [*(f"functions/{path.parent.name}/main.py" for path in ROOT.glob("functions/*/main.py")), "ips_common/store"],
)
def test_nothing_is_built_of_what_a_builder_left_out(commit: Path, python: Path, tmp_path: Path, lost: str) -> None:
    """Docker's classic builder does not go into excluded folders, and copies what little is left."""
    left = tmp_path / "left"
    shutil.copytree(
        commit, left, ignore=lambda folder, names: [name for name in names if (Path(folder) / name) == commit / lost]
    )
    with pytest.raises(subprocess.CalledProcessError) as refused:
        built(left, python, tmp_path / "root")
    assert f"the builder left out {lost}" in refused.value.stderr


def test_packages_are_installed_as_they_are_locked() -> None:
    (pip,) = [step.text.split() for step in BUILD.all("RUN") if " -m pip " in step.text]
    assert {"--require-hashes", "--only-binary=:all:", "--no-cache-dir"} <= set(pip)
    assert pip[-2:] == ["--requirement", "requirements.txt"]


def test_the_image_is_of_the_python_that_the_functions_run_on() -> None:
    (runtime,) = re.findall(r'variable "runtime" \{.*?default\s*= "python3(\d+)"', VARIABLES, re.DOTALL)
    assert {stage.base for stage in DOCKERFILE.stages} == {f"python:3.{runtime}-slim"}


def test_the_container_runs_as_nobody_in_particular() -> None:
    user, group = FINAL.one("USER").text.split(":")
    assert int(user) == int(group) == 65532
    assert not FINAL.all("RUN")
    assert [step.text for step in FINAL.all("COPY")] == ["--from=build /opt/ips /opt/ips"]


def test_no_secret_is_in_the_image() -> None:
    names = [step.text.partition("=")[0] for stage in DOCKERFILE.stages for step in stage.all("ARG")]
    assert {*names, *DOCKERFILE.arguments} == {"PYTHON", "REVISION", "VERSION"}
    assert not BUILD.all("ENV")
    assert set(FINAL.environment()) == {
        *("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
        *("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "PORT", "THREADS"),
    }
    steps = [step for stage in DOCKERFILE.stages for step in stage.steps]
    assert {step.name for step in steps}.isdisjoint({"ADD", "ONBUILD", "VOLUME"})
    assert not [
        step.text for step in steps if "--mount" in step.text or ("://" in step.text and step.name != "HEALTHCHECK")
    ]


def test_without_an_argument_it_is_the_api_and_it_writes_to_shared_memory_alone(image: Image, start: Start) -> None:
    before = image.changes()
    env = {**image.environment(), **PROJECT}
    process, port = start("api", image.command(), env, image.app)
    wait_until_healthy(process, port)
    check = json.loads(FINAL.one("HEALTHCHECK").text.partition(" CMD ")[2])
    env["PORT"] = str(port)
    assert subprocess.run(check, env=env, cwd=image.app, check=False).returncode == 0
    process.terminate()
    assert process.wait(time.monotonic() + GRACE_SECONDS)
    assert process.outcome == "exit code 0"
    assert image.changes() == before
    assert subprocess.run(check, env=env, cwd=image.app, check=False, stderr=subprocess.DEVNULL).returncode == 1


def test_a_request_that_sigterm_meets_is_finished(image: Image, start: Start) -> None:
    env = {**image.environment(), **PROJECT, "GUNICORN_LOG_LEVEL": "info"}
    process, port = start("notify", image.command("notify"), env, image.app)
    wait_until_healthy(process, port)
    assert FINAL.one("STOPSIGNAL").text == "SIGTERM"
    body = b"no message"
    with socket.create_connection((HOST, port), GRACE_SECONDS) as connection:
        head = f"POST / HTTP/1.1\r\nHost: ips\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        # The server says so once a thread of its own has the request and waits for its body.
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        process.terminate()
        wait_until_told(process)
        connection.sendall(body)
        # Refused, as it is no message; but answered.
        assert re.match(rb"HTTP/1.1 (204|400) ", connection.recv(1000))
    assert process.wait(time.monotonic() + GRACE_SECONDS)
    assert process.outcome == "exit code 0"


def wait_until_told(process: Process) -> None:
    """Wait until the server has taken note of SIGTERM; it goes on holding its port until it ends."""
    until = time.monotonic() + GRACE_SECONDS
    moment = threading.Event()
    while "Handling signal: term" not in process.tail(100):
        assert time.monotonic() < until, process.tail(100)
        moment.wait(0.02)
