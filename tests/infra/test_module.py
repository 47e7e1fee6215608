"""The module can be called by others, is described, and keeps secrets out of its state."""

import re

import pytest

from tests.infra.module import INFRA, blocks, files

FREE = {"enable_apis", "grant_cluster_access", "source_object", "deploy_projects", "api_keys", "webhook_secrets"}
"""Variables whose type says all there is to say, or whose names only Google can check."""
HOLDS_SECRETS = re.compile(r"secret_version|service_account_key|_secret\b\"?$|random_password")


@pytest.mark.parametrize("name", blocks("variable"))
def test_a_variable_is_described_and_typed(name: str) -> None:
    text = blocks("variable")[name]
    (description,) = re.findall(r'^  description = "(.+)"$', text, re.MULTILINE)
    assert description.endswith((".", "`")), description
    assert re.search(r"^  type +=", text, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(blocks("variable").keys() - FREE))
def test_a_variable_is_validated(name: str) -> None:
    text = blocks("variable")[name]
    assert text.count("validation {") == text.count("error_message =") > 0


@pytest.mark.parametrize("name", blocks("output"))
def test_an_output_is_described(name: str) -> None:
    assert re.search(r'^  description = ".+[.`]"$', blocks("output")[name], re.MULTILINE)


def test_the_caller_brings_provider_and_state() -> None:
    assert not any(re.search(r"^provider |^ +(backend|cloud) ", text, re.MULTILINE) for text in files().values())


def test_examples_set_only_variables_that_there_are() -> None:
    for path in INFRA.glob("examples/*/main.tf"):
        (call,) = re.findall(r'^module "ips" \{\n(.*?)^\}', path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        given = set(re.findall(r"^  (\w+) += ", call, re.MULTILINE)) - {"source"}
        assert given <= blocks("variable").keys(), path


def test_no_secret_is_in_the_state() -> None:
    kinds = {name.split(".")[0] for kind in ("resource", "data") for name in blocks(kind)}
    assert {kind for kind in kinds if HOLDS_SECRETS.search(kind)} == set()


def test_rights_are_added_one_by_one_and_take_nobody_elses_away() -> None:
    kinds = {name.split(".")[0] for name in blocks("resource")}
    assert {
        kind for kind in kinds if "_iam_" in kind and not kind.endswith(("_iam_member", "_iam_custom_role"))
    } == set()
