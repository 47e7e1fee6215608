"""API keys and their hashes."""

import subprocess
import sys

import pytest
import yaml

from ips_common.auth.api_key import ApiKey, ApiKeys, hash_key, new_key
from ips_common.config import ApiKeySettings
from ips_common.models.access import Role


def test_a_key_is_found_by_its_hash() -> None:
    (first, first_hash), (second, second_hash) = new_key(), new_key()
    keys = ApiKeys([ApiKey("ci", Role.WRITER, first_hash), ApiKey("board", Role.READER, second_hash)])

    assert [known.name if known else None for known in map(keys.find, (first, second))] == ["ci", "board"]


@pytest.mark.parametrize("key", ["", "x", "\ud800", "é" * 100, "x" * 10_000])
def test_another_is_not(key: str) -> None:
    assert ApiKeys([ApiKey("ci", Role.WRITER, new_key()[1])]).find(key) is None


def test_the_hash_is_neither_the_key_nor_its_salt() -> None:
    key, hashed = new_key()

    assert key not in hashed
    assert hashed != hash_key(key, "00" * 16)
    assert hash_key("key", "00" * 16) != hash_key("key", "01" * 16)


def test_the_command_prints_a_key_and_its_entry() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "ips_common.auth", "ci", "writer"], check=True, capture_output=True, text=True
    )

    first, second = made.stdout.splitlines()
    entry = yaml.safe_load(second)["IPS_API_KEYS"]["ci"]
    parsed = ApiKeySettings.model_validate(entry)
    known = ApiKeys([ApiKey("ci", parsed.role, parsed.hash)]).find(first.rpartition(" ")[2])
    assert known
    assert known.role is Role.WRITER


@pytest.mark.parametrize("arguments", [[], ["ci", "owner"], ["ci", "reader", "more"]])
def test_the_command_explains_itself(arguments: list[str]) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "ips_common.auth", *arguments], check=False, capture_output=True, text=True
    )

    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr.startswith("usage: ")
