import json
import logging
import re
import subprocess
import sys
import tomllib

import pytest

from deploy.release.tools import ROOT
from ips_common import __version__
from ips_common.logs import JsonFormatter
from tests.unit.api.conftest import Api

STATED = ROOT / "ips_common" / "__init__.py"
HISTORY = ROOT / "CHANGELOG.md"


def committed() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no history here, so nothing tells what is committed")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_version_is_a_semantic_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", __version__)


def test_nothing_else_states_the_version() -> None:
    stated = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\w.]*\d)".encode())
    files = [
        name
        for name in committed()
        if not name.startswith(("tests/data/", "requirements")) and stated.search((ROOT / name).read_bytes())
    ]
    assert [name for name in files if name != HISTORY.name] == ["ips_common/__init__.py"]


def test_the_changelog_releases_this_version_last_or_is_still_to_release_it() -> None:
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+[^\]\s]*)", HISTORY.read_text("utf-8"), re.MULTILINE)
    ahead = re.search(r"^## \[?Unreleased", HISTORY.read_text("utf-8"), re.MULTILINE)
    assert ahead or released[:1] == [__version__]
    assert __version__ not in released[1:]


def test_the_project_takes_its_version_from_the_code() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in content["project"]
    assert content["project"]["dynamic"] == ["version"]
    assert content["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ips_common.__version__"}


def test_error_reports_name_the_version() -> None:
    record = logging.LogRecord("ips", logging.ERROR, __file__, 1, "broken", (), (ValueError, ValueError(), None))
    entry = json.loads(JsonFormatter("test-project", "api").format(record))
    assert entry["serviceContext"]["version"] == __version__


def test_the_description_of_the_api_names_the_version() -> None:
    assert Api().get("/openapi.json").get_json()["info"]["version"] == __version__


def test_the_version_can_be_asked_for_without_any_package() -> None:
    # -S: no site-packages. Builders of the image ask for it before anything is installed.
    command = [sys.executable, "-S", "-m", "deploy.release", "version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"
