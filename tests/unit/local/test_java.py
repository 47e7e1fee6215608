from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.java import choose, java_version


def java(folder: Path, name: str, told: str, code: int = 0) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{told}' >&2\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ("no version at all", 0),
    ],
)
def test_version(tmp_path: Path, told: str, version: int) -> None:
    assert java_version(java(tmp_path, "java", told)) == version


def test_a_program_that_fails_has_no_version(tmp_path: Path) -> None:
    assert java_version(java(tmp_path, "java", 'openjdk version "17"', code=1)) == 0
    assert java_version(tmp_path / "none") == 0


def test_the_first_that_runs_every_emulator_wins(tmp_path: Path) -> None:
    old = java(tmp_path, "old", 'openjdk version "17.0.1"')
    first = java(tmp_path, "first", 'openjdk version "21.0.1"')
    second = java(tmp_path, "second", 'openjdk version "25.0.1"')
    assert choose([old, first, second]) == first


def test_an_older_one_will_do_where_there_is_no_better(tmp_path: Path) -> None:
    eleven = java(tmp_path, "eleven", 'openjdk version "11.0.1"')
    seventeen = java(tmp_path, "seventeen", 'openjdk version "17.0.1"')
    assert choose([tmp_path / "none", eleven, seventeen]) == seventeen


def test_no_java_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"need Java 11 or newer.*install one or set JAVA_HOME"):
        choose([tmp_path / "none"])


def test_a_java_that_is_too_old_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="is Java 8"):
        choose([java(tmp_path, "java", 'java version "1.8.0_402"')])
