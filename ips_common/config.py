"""Configuration: environment variables over a YAML file (`IPS_CONFIG`), validated once at start.

This is the only module that reads the environment.
"""

import re
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from ips_common.errors import ConfigError
from ips_common.models.access import Role, check_entry, is_safe_url
from ips_common.models.base import Model
from ips_common.models.image_rule import check_pattern
from ips_common.models.label import ObjectName, is_subdomain
from ips_common.models.task import ClusterName
from ips_common.rules import ReleaseRule, check_rules

Secret = Annotated[SecretStr, Field(min_length=16)]
"""A key too short to be guessed; printing the settings does not show it."""


AuthMode = Literal["none", "iam", "api-key", "oidc"]
RoleEntry = Annotated[str, AfterValidator(check_entry)]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")]
ImagePattern = Annotated[str, AfterValidator(check_pattern)]


class ApiKeySettings(Model):
    """A known API key: what it is for, and its salted hash (`python -m ips_common.auth NAME` makes both)."""

    role: Role = Role.READER
    hash: str = Field(pattern=r"^sha256:([0-9a-f]{2}){8,64}:[0-9a-f]{64}$", repr=False)


GKE_API = "https://container.googleapis.com"
DEPLOY_API = "https://clouddeploy.googleapis.com"
GkeEndpoint = Literal["auto", "dns", "ip", "private"]
_GKE_NAME = re.compile(r"projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/clusters/[a-z0-9-]+")


class ClusterSettings(Model):
    """How to reach one cluster: exactly one of a kubeconfig, the pod's own account or a GKE resource name."""

    kubeconfig: str | None = Field(default=None, min_length=1)
    context: str | None = None
    in_cluster: bool = False
    gke: str | None = None
    gke_endpoint: GkeEndpoint = "auto"

    @field_validator("context")
    @classmethod
    def _context(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("kubeconfig", "unreadable") is None:
            raise ValueError("goes with kubeconfig only")
        return value

    @field_validator("in_cluster")
    @classmethod
    def _in_cluster(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's order
        if value and info.data.get("kubeconfig") is not None:
            raise ValueError("give one of kubeconfig, inCluster and gke, not two")
        return value

    @field_validator("gke")
    @classmethod
    def _gke(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if info.data.get("kubeconfig") is not None or info.data.get("in_cluster"):
            raise ValueError("give one of kubeconfig, inCluster and gke, not two")
        if not _GKE_NAME.fullmatch(value):
            raise ValueError("must be projects/PROJECT/locations/LOCATION/clusters/CLUSTER")
        return value

    @field_validator("gke_endpoint")
    @classmethod
    def _gke_endpoint(cls, value: GkeEndpoint, info: ValidationInfo) -> GkeEndpoint:
        if info.data.get("gke", "unreadable") is None:
            raise ValueError("goes with gke only")
        return value

    @model_validator(mode="after")
    def _any(self) -> "ClusterSettings":
        if self.kubeconfig is None and self.gke is None and not self.in_cluster:
            raise ValueError("give one of kubeconfig, inCluster and gke")
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
    threads: int = Field(default=8, ge=1, validation_alias="THREADS")
    status_poll_interval: float = Field(default=5, ge=1, le=60, validation_alias="STATUS_POLL_INTERVAL")
    worker_image: str = Field(
        default="mirror.gcr.io/library/busybox:1.37.0-musl", min_length=1, validation_alias="WORKER_IMAGE"
    )
    worker_image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", validation_alias="WORKER_IMAGE_PULL_POLICY"
    )
    priority_class: ObjectName | None = Field(default=None, validation_alias="IPS_PRIORITY_CLASS")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", validation_alias="LOG_LEVEL"
    )
    log_format: Literal["json", "text"] = Field(default="json", validation_alias="LOG_FORMAT")
    clusters: Annotated[dict[ClusterName, ClusterSettings], NoDecode] = Field(
        default_factory=lambda: {"default": ClusterSettings(in_cluster=True)},
        min_length=1,
        validation_alias="IPS_CLUSTERS",
    )
    gke_api: str = Field(default=GKE_API, validation_alias="IPS_GKE_API_URL")
    deploy_api: str = Field(default=DEPLOY_API, validation_alias="IPS_CLOUD_DEPLOY_API_URL")
    release_rules: Annotated[tuple[ReleaseRule, ...], NoDecode] = Field(
        default=(), max_length=100, validation_alias="IPS_RELEASE_RULES"
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

    auth: AuthMode = Field(default="none", validation_alias="IPS_AUTH")
    writers: Annotated[tuple[RoleEntry, ...], NoDecode] = Field(default=(), validation_alias="IPS_WRITERS")
    readers: Annotated[tuple[RoleEntry, ...], NoDecode] = Field(default=(), validation_alias="IPS_READERS")
    api_keys: Annotated[dict[KeyName, ApiKeySettings], NoDecode] = Field(
        default_factory=dict, validation_alias="IPS_API_KEYS", repr=False
    )
    oidc_issuer: str | None = Field(default=None, validation_alias="IPS_OIDC_ISSUER")
    oidc_audience: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias="IPS_OIDC_AUDIENCE")
    iap_audience: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias="IPS_IAP_AUDIENCE")
    cloud_run_service: str | None = Field(default=None, validation_alias="K_SERVICE")
    allowed_images: Annotated[tuple[ImagePattern, ...], NoDecode] = Field(
        default=(), validation_alias="IPS_ALLOWED_IMAGES"
    )

    @field_validator("clusters", "api_keys", "release_rules", mode="before")
    @classmethod
    def _json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError("is neither JSON nor YAML") from error

    @field_validator(
        "webhook_secrets",
        "webhook_allowed_hosts",
        "webhook_allowed_networks",
        "writers",
        "readers",
        "oidc_audience",
        "iap_audience",
        "allowed_images",
        mode="before",
    )
    @classmethod
    def _list(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("namespace")
    @classmethod
    def _namespace(cls, value: str) -> str:
        if not is_subdomain(value) or "." in value:
            raise ValueError("must be the name of a namespace")
        return value

    @field_validator("gke_api", "deploy_api")
    @classmethod
    def _token_goes_there(cls, value: str) -> str:
        if not is_safe_url(value):
            raise ValueError("must be an https URL, or one of this machine")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        """What a way of telling callers apart cannot do without, so that none is left open by an oversight; rules."""
        check_rules(self.release_rules, self.clusters)
        match self.auth:
            case "api-key" if not self.api_keys:
                raise ValueError("IPS_API_KEYS: is required with IPS_AUTH=api-key")
            case "oidc" if self.oidc_issuer is None or not is_safe_url(self.oidc_issuer):
                raise ValueError("IPS_OIDC_ISSUER: must be the https URL of the issuer with IPS_AUTH=oidc")
            case "oidc" if not self.oidc_audience:
                raise ValueError("IPS_OIDC_AUDIENCE: is required with IPS_AUTH=oidc")
            case "oidc" if not self.writers and not self.readers:
                raise ValueError("IPS_WRITERS: is required with IPS_AUTH=oidc, or IPS_READERS; * stands for everybody")
            case "iam" if not self.iap_audience and self.cloud_run_service is None:
                raise ValueError(
                    "IPS_AUTH: iam believes what Google's front end has checked, and this is not Cloud Run "
                    "(K_SERVICE is not set)"
                )
        return self

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
        problems = "; ".join(map(_sentence, error.errors(include_url=False, include_input=False)))
        raise ConfigError(problems) from error


_PLAIN = {"extra_forbidden": "is no known setting", "model_type": "must be a mapping", "dict_type": "must be a mapping"}


def _sentence(problem: ErrorDetails) -> str:
    """Say which variable is wrong and why; a check of several names the variable itself."""
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    message = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{place}: {message}" if place else message
