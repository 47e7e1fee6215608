"""Access to the stack's cluster: reach it, and put the namespace and the rights there."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config
from kubernetes import utils as kubernetes_utils
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from deploy.local.errors import StackError

_TIMEOUT_S = (3, 10)

# What the client library raises over a file that is missing, is no YAML or is not what it should be.
_UNUSABLE = (ConfigException, OSError, yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError)

# Half of what these two modules offer carries no types.
config: Any = kubernetes_config
utils: Any = kubernetes_utils


def current_context(kubeconfig: Path) -> str:
    """The name of the file's current context.

    Raises:
        StackError: The file is missing or none is set.
    """
    try:
        _, active = config.list_kube_config_contexts(str(kubeconfig))
        return str(active["name"])
    except _UNUSABLE as error:
        raise StackError(f"kubeconfig {kubeconfig} cannot be used: {_one_line(error)}") from error


def connect(kubeconfig: Path, context: str) -> Any:
    """A client for the cluster of `context`, which was seen to answer.

    Raises:
        StackError: The file cannot be used, or the cluster is away or refuses the credentials.
    """
    try:
        api = config.new_client_from_config(str(kubeconfig), context)
    except _UNUSABLE as error:
        raise StackError(f"kubeconfig {kubeconfig} cannot be used: {_one_line(error)}") from error
    api.configuration.retries = 0
    api.rest_client.pool_manager.connection_pool_kw["retries"] = 0
    where = f"cluster {api.configuration.host} (context {context} of {kubeconfig})"
    try:
        client.VersionApi(api).get_code(_request_timeout=_TIMEOUT_S)
    except HTTPError as error:
        raise StackError(
            f"{where} cannot be reached: {_one_line(error)}; check that it runs and its address"
        ) from error
    except ApiException as error:
        # Least rights may not even see the version; an answer is all that is wanted.
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise StackError(f"{where} does not accept the credentials: log in to it again") from error
    return api


def apply(api: Any, manifests: Iterable[Path]) -> None:
    """Create what the files describe; what exists already stays as it is.

    Raises:
        StackError: The cluster refuses something.
    """
    for manifest in manifests:
        try:
            utils.create_from_yaml(api, str(manifest))
        except kubernetes_utils.FailToCreateError as error:
            for refusal in error.api_exceptions:
                if refusal.status != HTTPStatus.CONFLICT:
                    raise StackError(f"the cluster refuses {manifest}: {_told(refusal)}") from error
        except HTTPError as error:
            raise StackError(f"the cluster was lost while {manifest} was applied: {_one_line(error)}") from error


def ensure_namespace(api: Any, name: str, manifest: Path) -> str | None:
    """Create the namespace if it is missing; return a remark for the user where that cannot be told.

    Raises:
        StackError: It is missing and these credentials may not create it.
    """
    try:
        client.CoreV1Api(api).read_namespace(name, _request_timeout=_TIMEOUT_S)
    except ApiException as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return (
                f"these credentials may not look whether namespace {name} exists; if not, apply {manifest} as an admin"
            )
        if error.status != HTTPStatus.NOT_FOUND:
            raise StackError(f"namespace {name} cannot be checked: {_told(error)}") from error
    except HTTPError as error:
        raise StackError(f"namespace {name} cannot be checked: {_one_line(error)}") from error
    else:
        return None
    try:
        apply(api, [manifest])
    except StackError as error:
        raise StackError(f"namespace {name} is missing; as an admin: kubectl apply -f {manifest} ({error})") from error
    return f"namespace {name} created"


def _told(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def _one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "reason", None) or error).split())
