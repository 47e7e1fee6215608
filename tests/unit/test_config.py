"""Settings: what is refused, and how it is said."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ips_common.auth.api_key import new_key
from ips_common.config import Settings, settings
from ips_common.errors import ConfigError

KEYS = f"{{ci: {{role: writer, hash: '{new_key()[1]}'}}}}"
OIDC = {"IPS_AUTH": "oidc", "IPS_OIDC_ISSUER": "https://id.example", "IPS_OIDC_AUDIENCE": "ips", "IPS_WRITERS": "*"}


@pytest.fixture(autouse=True)
def _only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPS_CONFIG", "K_SERVICE", "IPS_FUNCTION", "IPS_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return settings.__wrapped__()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"IPS_AUTH": "api-key", "IPS_API_KEYS": KEYS},
        OIDC,
        {**OIDC, "IPS_OIDC_ISSUER": "http://127.0.0.1:8080/realm"},
        {"IPS_AUTH": "iam", "K_SERVICE": "api"},
        {"IPS_AUTH": "iam", "IPS_IAP_AUDIENCE": "/projects/1/locations/x/services/api"},
    ],
)
def test_what_is_complete_is_taken(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    assert read(monkeypatch, **variables).auth == variables.get("IPS_AUTH", "none")


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"IPS_AUTH": "password"}, "IPS_AUTH: "),
        ({"IPS_AUTH": "iam"}, "IPS_AUTH: "),
        ({"IPS_AUTH": "api-key"}, "IPS_API_KEYS: "),
        ({"IPS_AUTH": "api-key", "IPS_API_KEYS": "{"}, "IPS_API_KEYS: "),
        ({"IPS_AUTH": "api-key", "IPS_API_KEYS": "{ci: {hash: plain-text-key}}"}, "IPS_API_KEYS.ci.hash: "),
        ({**OIDC, "IPS_OIDC_ISSUER": ""}, "IPS_OIDC_ISSUER: "),
        ({**OIDC, "IPS_OIDC_ISSUER": "http://id.example"}, "IPS_OIDC_ISSUER: "),
        ({**OIDC, "IPS_OIDC_AUDIENCE": ""}, "IPS_OIDC_AUDIENCE: "),
        ({**OIDC, "IPS_WRITERS": ""}, "IPS_WRITERS: "),
        ({**OIDC, "IPS_WRITERS": "ada@example.com, example.com"}, "IPS_WRITERS.1: "),
        ({"IPS_ALLOWED_IMAGES": "ghcr.io/acme/**, nginx"}, "IPS_ALLOWED_IMAGES.1: "),
        ({"MAX_CONCURRENT_TASKS": "many"}, "MAX_CONCURRENT_TASKS: "),
        ({"IPS_PRIORITY_CLASS": "Low"}, "IPS_PRIORITY_CLASS: "),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(monkeypatch, **variables)

    assert str(refused.value).startswith(names)
    assert "\n" not in str(refused.value)
    assert "plain-text-key" not in str(refused.value)


def test_everything_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"JOB_TTL_SECONDS: .*; MAX_CONCURRENT_TASKS: "):
        read(monkeypatch, JOB_TTL_SECONDS="1", MAX_CONCURRENT_TASKS="0")


def test_lists_and_keys_may_stand_in_the_file_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ips.yaml"
    file.write_text(f"IPS_AUTH: api-key\nIPS_API_KEYS: {KEYS}\nIPS_ALLOWED_IMAGES:\n- ghcr.io/acme/**\n")

    config = read(monkeypatch, IPS_CONFIG=str(file))

    assert (list(config.api_keys), config.allowed_images) == (["ci"], ("ghcr.io/acme/**",))


def test_settings_do_not_show_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(monkeypatch, IPS_AUTH="api-key", IPS_API_KEYS=KEYS)

    assert "sha256:" not in repr(config)


def test_settings_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = read(monkeypatch)
    with pytest.raises(ValidationError):
        config.auth = "none"


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ("{prod: {gek: x}}", "IPS_CLUSTERS.prod.gek: is no known setting"),
        ("{prod: {}}", "IPS_CLUSTERS.prod: give one of kubeconfig, inCluster and gke"),
        ("{prod: {kubeconfig: a, inCluster: true}}", "IPS_CLUSTERS.prod.inCluster: give one of "),
        ("{prod: {kubeconfig: a, gke: projects/p/locations/l/clusters/c}}", "IPS_CLUSTERS.prod.gke: give one of "),
        ("{prod: {inCluster: true, gke: projects/p/locations/l/clusters/c}}", "IPS_CLUSTERS.prod.gke: give one of "),
        ("{prod: {gke: projects/p/zones/l/clusters/c}}", "IPS_CLUSTERS.prod.gke: must be projects/PROJECT/locations/"),
        ("{prod: {gke: 'projects/p/locations/l/clusters/c?x'}}", "IPS_CLUSTERS.prod.gke: must be projects/PROJECT/"),
        ("{prod: {gke: projects/p/locations/l/clusters/c, gkeEndpoint: x}}", "IPS_CLUSTERS.prod.gkeEndpoint: "),
        ("{prod: {inCluster: true, gkeEndpoint: dns}}", "IPS_CLUSTERS.prod.gkeEndpoint: goes with gke only"),
        ("{prod: {inCluster: true, context: c}}", "IPS_CLUSTERS.prod.context: goes with kubeconfig only"),
        ("{prod: {kubeconfig: ''}}", "IPS_CLUSTERS.prod.kubeconfig: "),
        ("{prod: kubeconfig}", "IPS_CLUSTERS.prod: must be a mapping"),
        ("{Prod_1: {inCluster: true}}", "IPS_CLUSTERS.Prod_1: "),
        ("[prod]", "IPS_CLUSTERS: must be a mapping"),
        ("{}", "IPS_CLUSTERS: "),
        ("{", "IPS_CLUSTERS: is neither JSON nor YAML"),
    ],
)
def test_a_cluster_that_cannot_be_is_named_with_its_field(
    monkeypatch: pytest.MonkeyPatch, clusters: str, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(monkeypatch, IPS_CLUSTERS=clusters)

    assert str(refused.value).startswith(message)
    assert ";" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "clusters",
    [
        "{prod: {gke: projects/p/locations/europe-west1/clusters/c}}",
        "{prod: {gke: 'projects/example.com:p/locations/europe-west1-b/clusters/c-1', gkeEndpoint: private}}",
        '{"a": {"kubeconfig": "/k", "context": "c"}, "b": {"inCluster": true}}',
        "{prod: {kubeconfig: /k, inCluster: false}}",
    ],
)
def test_clusters_of_every_kind_are_taken(monkeypatch: pytest.MonkeyPatch, clusters: str) -> None:
    assert read(monkeypatch, IPS_CLUSTERS=clusters).clusters


def test_the_token_goes_to_no_api_over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="IPS_GKE_API_URL: must be an https URL"):
        read(monkeypatch, IPS_GKE_API_URL="http://container.example.com")
