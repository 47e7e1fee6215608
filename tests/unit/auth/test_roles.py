"""Lists of writers and readers."""

import pytest

from ips_common.models.access import Role, Roles, check_entry


@pytest.mark.parametrize(
    ("entry", "claims", "email", "matches"),
    [
        ("*", {}, None, True),
        ("ada@example.com", {}, "ada@example.com", True),
        ("Ada@Example.com", {}, "ada@example.COM", True),
        ("ada@example.com", {}, "ada@example.com.evil.net", False),
        ("ada@example.com", {}, None, False),
        ("@example.com", {}, "ada@example.com", True),
        ("@example.com", {}, "ada@notexample.com", False),
        ("@example.com", {}, "ada@sub.example.com", False),
        ("@example.com", {}, None, False),
        ("groups=release", {"groups": ["a", "release"]}, None, True),
        ("groups=release", {"groups": "release"}, None, True),
        ("groups=release", {"groups": "releases"}, None, False),
        ("groups=release", {"groups": {"release": 1}}, None, False),
        ("groups=release", {}, None, False),
        ("sub=12=3", {"sub": "12=3"}, None, True),
    ],
)
def test_an_entry_matches(entry: str, claims: dict[str, object], email: str | None, matches: bool) -> None:  # noqa: FBT001 - a table
    assert check_entry(entry) == entry
    assert (Roles([entry], []).of(claims, email) is Role.WRITER) is matches
    assert (Roles([], [entry]).of(claims, email) is Role.READER) is matches


def test_who_is_in_both_lists_may_write() -> None:
    assert Roles(["ada@example.com"], ["*"]).of({}, "ada@example.com") is Role.WRITER
    assert Roles(["ada@example.com"], ["*"]).of({}, "bob@example.com") is Role.READER


def test_who_is_in_no_list_may_nothing() -> None:
    assert Roles([], []).of({"sub": "1"}, "ada@example.com") is None


@pytest.mark.parametrize("entry", ["example.com", "", "ada@", "a@b@c", "=x", "groups=", "email=ada@example.com", "**"])
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"none of|claim=value|address alone"):
        check_entry(entry)
