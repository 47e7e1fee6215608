"""Every function starts with the environment that Terraform gives it."""

import json
import os
from typing import Any

import pytest

from ips_common.config import Settings
from tests.infra.applied.conftest import Applied
from tests.infra.module import needs, topology
from tests.infra.needs import variables

SECRETS = {
    "IPS_API_KEYS": json.dumps({"ci": {"role": "writer", "hash": f"sha256:{'ab' * 16}:{'0' * 64}"}}),
    "IPS_WEBHOOK_SECRETS": "0123456789abcdef",
}
FUNCTIONS = sorted(topology().functions)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting comes from the machine that tests."""
    for name in (*os.environ,):
        if name in {*variables().values(), "IPS_CONFIG", "GCP_PROJECT", "IPS_PROJECT"}:
            monkeypatch.delenv(name)
    return monkeypatch


def environment(run: Applied, function: str) -> dict[str, str]:
    """What an instance finds: its variables, its secrets' values and what the platform adds."""
    config = run.function(function)
    secrets = {each["key"]: SECRETS[each["key"]] for each in config["secret_environment_variables"]}
    return {**config["environment_variables"], **secrets, "K_SERVICE": f"ips-{function}"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_configuration_accepts_it(runs: dict[str, Applied], function: str, bare: pytest.MonkeyPatch) -> None:
    for run in runs.values():
        with bare.context() as patch:
            given = environment(run, function)
            for name, value in given.items():
                patch.setenv(name, value)
            settings = Settings()
        assert settings.function == function
        assert settings.project == "acme-prewarm"
        assert settings.log_format == "json"
        assert all(each.gke for each in settings.clusters.values())
        assert settings.auth == (given["IPS_AUTH"] if function == "api" else "none")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_stands_in_it_that_nobody_reads(runs: dict[str, Applied], function: str) -> None:
    for name, run in runs.items():
        unknown = environment(run, function).keys() - {*variables().values(), "PYTHONPATH", "THREADS"}
        assert not unknown, name


def test_a_functions_own_settings_and_secrets_reach_it_alone(runs: dict[str, Applied]) -> None:
    reached: dict[str, set[str]] = {}
    for run in runs.values():
        for function in FUNCTIONS:
            for name in environment(run, function):
                reached.setdefault(name, set()).add(function)
    for function, wants in needs()["functions"].items():
        for name in (*wants["own"], *wants["secrets"]):
            assert reached.get(name, {function}) == {function}, name
    assert {"IPS_AUTH", "IPS_API_KEYS", "IPS_WEBHOOK_SECRETS", "IPS_RELEASE_RULES"} <= reached.keys()


def test_the_value_of_a_secret_is_nowhere(runs: dict[str, Applied]) -> None:
    run = runs["options/secrets_are_references"]
    references = [each for name in FUNCTIONS for each in run.function(name)["secret_environment_variables"]]
    assert len(references) == 2
    for each in references:
        assert set(each) == {"key", "project_id", "secret", "version"}
    assert not any(address.startswith("google_secret_manager_secret_version") for address in run.resources)


def test_as_many_threads_as_requests(runs: dict[str, Applied]) -> None:
    for name in FUNCTIONS:
        config: dict[str, Any] = runs["topology/applied"].function(name)
        assert config["environment_variables"]["THREADS"] == str(config["max_instance_request_concurrency"])
        assert config["available_cpu"] == "1"
