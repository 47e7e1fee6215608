"""Configuration: environment variables over a YAML file (`IPS_CONFIG`), validated once at start.

This is the only module that reads the environment.
"""

from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ips_common.errors import ConfigError
from ips_common.models.base import Model
from ips_common.models.label import is_subdomain

Secret = Annotated[SecretStr, Field(min_length=16)]
"""A key too short to be guessed; printing the settings does not show it."""


class ClusterSettings(Model):
    """How to reach one cluster: exactly one of a kubeconfig, the pod's own account or a GKE resource name."""

    kubeconfig: str | None = None
    context: str | None = None
    in_cluster: bool = False
    gke: str | None = Field(default=None, pattern=r"^projects/[^/]+/locations/[^/]+/clusters/[^/]+$")

    @model_validator(mode="after")
    def _one(self) -> "ClusterSettings":
        if [self.kubeconfig is not None, self.in_cluster, self.gke is not None].count(True) != 1:
            raise ValueError("give exactly one of kubeconfig, inCluster and gke")
        return self


class Settings(BaseSettings):
    """Everything that can be configured, by the names of the environment variables."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    project: str = Field(validation_alias=AliasChoices("GOOGLE_CLOUD_PROJECT", "GCP_PROJECT", "IPS_PROJECT"))
    database: str = Field(default="(default)", validation_alias="IPS_FIRESTORE_DATABASE")
    namespace: str = Field(default="ips", validation_alias="K8S_NAMESPACE")
    job_ttl_seconds: int = Field(default=3600, ge=60, validation_alias="JOB_TTL_SECONDS")
    max_concurrent_tasks: int = Field(default=10, ge=1, le=1000, validation_alias="MAX_CONCURRENT_TASKS")
    max_pending_tasks: int = Field(default=1000, ge=1, validation_alias="IPS_MAX_PENDING_TASKS")
    status_poll_interval: float = Field(default=5, ge=1, le=60, validation_alias="STATUS_POLL_INTERVAL")
    worker_image: str = Field(
        default="mirror.gcr.io/library/busybox:1.37.0-musl", min_length=1, validation_alias="WORKER_IMAGE"
    )
    worker_image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", validation_alias="WORKER_IMAGE_PULL_POLICY"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", validation_alias="LOG_LEVEL"
    )
    log_format: Literal["json", "text"] = Field(default="json", validation_alias="LOG_FORMAT")
    clusters: Annotated[dict[str, ClusterSettings], NoDecode] = Field(
        default_factory=lambda: {"default": ClusterSettings(in_cluster=True)},
        min_length=1,
        validation_alias="IPS_CLUSTERS",
    )
    function: str = Field(default="ips", validation_alias=AliasChoices("IPS_FUNCTION", "K_SERVICE"))
    pull_grace_seconds: float = Field(default=60, ge=0, le=7200, validation_alias="IPS_PULL_GRACE_SECONDS")
    webhook_secrets: Annotated[tuple[Secret, ...], NoDecode] = Field(
        default=(), max_length=5, validation_alias="IPS_WEBHOOK_SECRETS"
    )
    webhook_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias="IPS_WEBHOOK_ALLOWED_HOSTS"
    )
    webhook_allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), validation_alias="IPS_WEBHOOK_ALLOWED_NETWORKS"
    )
    tracker_seconds: float = Field(default=500, ge=1, le=530, validation_alias="IPS_TRACKER_SECONDS")
    lease_seconds: float = Field(default=15, ge=1, le=300, validation_alias="IPS_LEASE_SECONDS")

    @field_validator("clusters", mode="before")
    @classmethod
    def _json(cls, value: Any) -> Any:
        return yaml.safe_load(value) if isinstance(value, str) else value

    @field_validator("webhook_secrets", "webhook_allowed_hosts", "webhook_allowed_networks", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        if not is_subdomain(value) or "." in value:
            raise ValueError("must be the name of a namespace")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings calls it by this name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file; no .env files, no secret folders."""
        return init_settings, env_settings, _YamlFile(settings_cls)


class _Location(BaseSettings):
    path: str | None = Field(default=None, validation_alias="IPS_CONFIG")


class _YamlFile(PydanticBaseSettingsSource):
    """Values of the YAML file, under the names of the environment variables."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - unused here
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = _Location().path
        if path is None:
            return {}
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"IPS_CONFIG: cannot read {path}: {error}") from error
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise ConfigError(f"IPS_CONFIG: {path} must hold a mapping of names to values")
        known = {name for field in Settings.model_fields.values() for name in _names(field)}
        if unknown := sorted(map(str, content.keys() - known)):
            raise ConfigError(f"IPS_CONFIG: {path} has unknown names: {', '.join(unknown)}")
        return content


def _names(field: FieldInfo) -> tuple[str, ...]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (str(alias),)


@cache
def settings() -> Settings:
    """Read the configuration, once per process.

    Raises:
        ConfigError: a variable is missing or wrong; the message names each.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError(problems) from error
