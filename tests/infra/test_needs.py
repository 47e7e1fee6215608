"""`functions.yaml`, from which rights and settings are granted, says what the code needs: no more, no less."""

import re
from typing import Any

import pytest
import yaml

from tests.infra import needs
from tests.infra.extract import ROOT
from tests.infra.module import blocks, files, topology
from tests.infra.module import needs as declared

FUNCTIONS = sorted(topology().functions)
PLATFORM = {"PYTHONPATH", "THREADS"}
"""Read by Python and functions-framework, not by us."""
FOR_TESTS = {"IPS_GKE_API_URL", "IPS_CLOUD_DEPLOY_API_URL"}
"""Other addresses of Google's APIs: there are none to give in Google's cloud."""


@pytest.fixture(params=FUNCTIONS)
def function(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def says(function: str) -> dict[str, Any]:
    """What functions.yaml says of it."""
    found: dict[str, Any] = declared()["functions"][function]
    return found


def test_every_function_is_declared() -> None:
    assert sorted(declared()["functions"]) == FUNCTIONS


def test_publishes_what_its_code_sends(function: str, says: dict[str, Any]) -> None:
    assert set(says["publishes"]) == needs.publishes(function)


@pytest.mark.parametrize(("right", "adapter"), [("store", "store"), ("clusters", "clusters"), ("releases", "releases")])
def test_has_the_rights_that_its_adapters_use(function: str, says: dict[str, Any], right: str, adapter: str) -> None:
    assert bool(says[right]) == needs.wires(function, adapter)


def test_every_role_in_a_cluster_is_bound_and_no_other(function: str, says: dict[str, Any]) -> None:
    roles = list(yaml.safe_load_all((ROOT / "deploy" / "k8s" / "base" / "rbac.yaml").read_text("utf-8")))
    kinds = {"ClusterRole": "nodes", "Role": "namespace"}
    made = {kinds[each["kind"]] for each in roles if each["metadata"]["name"] == f"ips-{function}"}
    assert set(says["clusters"]) == made


def test_gets_the_secrets_and_settings_of_its_own_that_it_reads(function: str, says: dict[str, Any]) -> None:
    everybodys = common() | set(declared()["settings"]) | FOR_TESTS
    assert set(says["secrets"]) | set(says["own"]) == needs.settings(function) - everybodys


def test_a_secret_is_never_a_plain_setting() -> None:
    secrets = {name for each in declared()["functions"].values() for name in each["secrets"]}
    assert secrets == {"IPS_API_KEYS", "IPS_WEBHOOK_SECRETS"}
    assert not secrets & (set(declared()["settings"]) | common() | own())


def test_settings_that_can_be_set_are_read_by_somebody() -> None:
    read = set().union(*(needs.settings(function) for function in FUNCTIONS))
    assert set(declared()["settings"]) | common() - PLATFORM <= read


def test_terraform_sets_only_what_the_configuration_knows() -> None:
    known = set(needs.variables().values())
    given = common() | own() | set(declared()["settings"]) | secrets()
    assert given - PLATFORM <= known
    assert known - given == FOR_TESTS | {"K_SERVICE"}


def common() -> set[str]:
    """What functions.tf gives every function."""
    return _keys("common_environment = merge") | {"IPS_FUNCTION", "THREADS"}


def own() -> set[str]:
    return _keys("own_environment = {")


def secrets() -> set[str]:
    return _keys("secrets = {")


def _keys(after: str) -> set[str]:
    text = files()["functions.tf"].partition(after)[2].partition("\n\n")[0]
    found = set(re.findall(r"^ +([A-Z][A-Z0-9_]+) += ", text, re.MULTILINE))
    assert found
    return found


def test_the_environment_is_put_together_where_this_reads_it() -> None:
    text = blocks("resource")["google_cloudfunctions2_function.this"]
    assert set(re.findall(r"^ +([A-Z][A-Z0-9_]+) += ", text, re.MULTILINE)) == {
        "GOOGLE_FUNCTION_SOURCE",
        "IPS_FUNCTION",
        "THREADS",
    }
