import json
from pathlib import Path

import pytest

from deploy.local.environment import function_environment, inherited_environment
from ips_common.config import Settings


def test_the_functions_settings_read_what_the_stack_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    env = function_environment(
        project="ips-local-1",
        emulators={"firestore": "127.0.0.1:1", "pubsub": "127.0.0.1:2"},
        kubeconfig=Path("/somewhere/kubeconfig"),
        context="ips",
        namespace="prewarm",
    )
    assert env["FIRESTORE_EMULATOR_HOST"] == "127.0.0.1:1"
    assert env["PUBSUB_EMULATOR_HOST"] == "127.0.0.1:2"
    assert json.loads(env["IPS_CLUSTERS"]) == {"default": {"kubeconfig": "/somewhere/kubeconfig", "context": "ips"}}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.project, settings.namespace) == ("ips-local-1", "prewarm")
    assert settings.clusters["default"].context == "ips"


def test_credentials_of_the_user_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json")
    monkeypatch.setenv("MAX_CONCURRENT_TASKS", "3")
    env = inherited_environment()
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in env
    assert env["MAX_CONCURRENT_TASKS"] == "3"


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "corp.example")
    assert inherited_environment()["no_proxy"] == "corp.example,127.0.0.1,localhost"
