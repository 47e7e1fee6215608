import re
import subprocess
from pathlib import Path

import pytest

from deploy.local.parts import ROOT

INFRA = ROOT / "infra"
HOLDS_A_VALUE = (
    *("google_secret_manager_secret_version", "google_secret_manager_regional_secret_version"),
    *("google_service_account_key", "google_apikeys_key", "random_password", "random_bytes", "tls_private_key"),
)
"""Resources and data sources whose secret ends up in Terraform's state."""


def terraform() -> dict[Path, str]:
    files = sorted(INFRA.rglob("*.tf"))
    assert len(files) > 10
    return {file: file.read_text("utf-8") for file in files if ".terraform" not in file.parts}


def test_no_secret_reaches_the_state_of_terraform() -> None:
    for file, text in terraform().items():
        kinds = re.findall(r'^(?:resource|data|ephemeral) "(\w+)"', text, re.MULTILINE)
        assert not set(kinds) & set(HOLDS_A_VALUE), file
        assert "secret_data" not in text, file


def test_variables_take_the_places_of_secrets_and_never_their_values() -> None:
    for file, text in terraform().items():
        for name, body in re.findall(
            r'^variable "(\w*(?:secret|key|password|token)\w*)" \{(.*?)^\}', text, re.MULTILINE | re.DOTALL
        ):
            attributes = set(re.findall(r"^ {4}(\w+) +=", body, re.MULTILINE))
            assert attributes == {"secret", "version", "project"}, f"{file}: {name}"


@pytest.mark.parametrize("file", ["infra/terraform.tfstate", "infra/my.tfvars", "infra/plan.tfplan", "dist/ips.zip"])
def test_what_may_hold_secrets_is_not_committed_by_mistake(file: str) -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", file], cwd=ROOT, check=False)
    if ignored.returncode == 128:
        pytest.skip("no history here, so nothing is committed")
    assert ignored.returncode == 0
