"""What the function needs to start, and how it is configured."""

import subprocess
import sys
from pathlib import Path

import pytest

from functions.notify.main import _handle
from ips_common.bus.envelope import Delivery
from ips_common.config import Settings, settings
from ips_common.errors import ConfigError, MalformedMessage
from ips_common.models.message import BatchMessage

ROOT = Path(__file__).resolve().parents[3]


def test_it_starts_without_what_talks_to_clusters() -> None:
    code = "import sys, functions.notify.main; print(sorted({'kubernetes', 'orjson'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout == "[]\n"


def test_a_message_for_another_function_is_not_handled() -> None:
    with pytest.raises(MalformedMessage, match="batch"):
        _handle(Delivery(BatchMessage(task_id="task-1", attempt=0, batch=1), "1"))


# --- configuration


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    for name in ("SECRETS", "ALLOWED_HOSTS", "ALLOWED_NETWORKS"):
        monkeypatch.delenv(f"IPS_WEBHOOK_{name}", raising=False)
    return monkeypatch


def test_nothing_is_allowed_or_secret_by_default(environment: pytest.MonkeyPatch) -> None:
    del environment
    read = Settings()
    assert (read.webhook_secrets, read.webhook_allowed_hosts, read.webhook_allowed_networks) == ((), (), ())


def test_lists_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IPS_WEBHOOK_SECRETS", "new-secret-0123456789, old-secret-0123456789,")
    environment.setenv("IPS_WEBHOOK_ALLOWED_HOSTS", "a.internal,b.internal")
    environment.setenv("IPS_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")
    read = Settings()
    secrets = [secret.get_secret_value() for secret in read.webhook_secrets]
    assert secrets == ["new-secret-0123456789", "old-secret-0123456789"]
    assert read.webhook_allowed_hosts == ("a.internal", "b.internal")
    assert [str(network) for network in read.webhook_allowed_networks] == ["10.0.0.0/8", "fd00::/8"]
    assert "secret-0123456789" not in repr(read)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IPS_WEBHOOK_SECRETS", "planted-short"),
        ("IPS_WEBHOOK_ALLOWED_NETWORKS", "10.0.0.1/8"),
        ("IPS_WEBHOOK_ALLOWED_NETWORKS", "everything"),
    ],
)
def test_what_is_wrong_is_named_without_showing_a_secret(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        settings.__wrapped__()
    assert "planted" not in str(caught.value)
