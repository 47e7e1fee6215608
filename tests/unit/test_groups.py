"""How the groups of `make test` end together."""

import signal

import pytest

from tests.__main__ import GROUPS, NOTHING_FOUND, ROOT, verdict


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((0, 0, 0), 0),
        ((0, NOTHING_FOUND, NOTHING_FOUND), 0),
        ((NOTHING_FOUND, NOTHING_FOUND), NOTHING_FOUND),
        ((0, 1, 0), 1),
        ((0, -signal.SIGKILL, 0), signal.SIGKILL),
    ],
)
def test_one_group_that_fails_or_is_killed_fails_all(codes: tuple[int, ...], code: int) -> None:
    assert verdict(codes) == code


def test_every_folder_of_tests_belongs_to_a_group() -> None:
    found = {path.parent.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    grouped = {part for group in GROUPS.values() for part in group if not part.startswith("-")}
    left_out = {folder for folder in found if not any(str(folder).startswith(part) for part in grouped)}
    assert {str(folder) for folder in left_out} == {"tests/cluster"}
