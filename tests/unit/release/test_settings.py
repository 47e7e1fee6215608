"""The rules as operators write them."""

from pathlib import Path

import pytest

from ips_common.config import Settings, settings
from ips_common.errors import ConfigError

RULES = """
- name: shop
  images: ["us-docker.pkg.dev/acme/shop/*:v*"]
  cluster: default
  nodeSelector: {pool: web}
  batchSize: 20
- name: base
  images: [docker.io/library/nginx]
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    for name in ("IPS_CONFIG", "IPS_RELEASE_RULES", "IPS_CLUSTERS", "IPS_CLOUD_DEPLOY_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def read() -> Settings:
    return settings.__wrapped__()


def test_there_are_no_rules_by_default(environment: pytest.MonkeyPatch) -> None:
    del environment
    assert read().release_rules == ()


def test_rules_are_written_as_yaml_or_json_or_in_the_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("IPS_RELEASE_RULES", RULES)
    from_variable = read().release_rules
    environment.delenv("IPS_RELEASE_RULES")
    file = tmp_path / "ips.yaml"
    indented = RULES.replace("\n", "\n  ")
    file.write_text(f"IPS_RELEASE_RULES: {indented}\n")
    environment.setenv("IPS_CONFIG", str(file))
    assert read().release_rules == from_variable
    assert [(rule.name, rule.batch_size, dict(rule.node_selector)) for rule in from_variable] == [
        ("shop", 20, {"pool": "web"}),
        ("base", 10, {}),
    ]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("{", "IPS_RELEASE_RULES: is neither JSON nor YAML"),
        ("shop", "IPS_RELEASE_RULES: "),
        ("[7]", "IPS_RELEASE_RULES.0: must be a mapping"),
        ("[{images: ['**']}]", "IPS_RELEASE_RULES.0.name: Field required"),
        ("[{name: a}]", "IPS_RELEASE_RULES.0.images: Field required"),
        ("[{name: a, images: [nginx]}]", "IPS_RELEASE_RULES.0.images.0: 'nginx' is not registry/repository"),
        ("[{name: a, images: ['**'], batchSize: 500}]", "IPS_RELEASE_RULES.0.batchSize: "),
        ("[{name: a, images: ['**'], colour: red}]", "IPS_RELEASE_RULES.0.colour: is no known setting"),
        ("[{name: a, images: ['**'], cluster: b}]", "IPS_RELEASE_RULES: a: cluster b is not configured"),
        ("[{name: a, images: ['**']}, {name: a, images: ['**']}]", "IPS_RELEASE_RULES: the name a is there twice"),
    ],
)
def test_what_is_wrong_is_named_at_start(environment: pytest.MonkeyPatch, rules: str, told: str) -> None:
    environment.setenv("IPS_RELEASE_RULES", rules)
    with pytest.raises(ConfigError) as refused:
        read()
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_tokens_are_sent_to_no_unsafe_place(environment: pytest.MonkeyPatch) -> None:
    assert read().deploy_api == "https://clouddeploy.googleapis.com"
    environment.setenv("IPS_CLOUD_DEPLOY_API_URL", "http://deploy.example")
    with pytest.raises(ConfigError, match="IPS_CLOUD_DEPLOY_API_URL: must be an https URL"):
        read()
