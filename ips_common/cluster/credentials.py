"""How to reach an API server and what to show it, as the official client reads it from its many sources.

Tokens, token files, programs that print tokens, client certificates, authorities, proxies: all that is the `kubernetes`
package's business. It is imported when first needed, because its import takes as long as a cold start may.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from ips_common.errors import ClusterUnavailable


@dataclass(frozen=True, slots=True)
class Access:
    """Where an API server is and what every request to it carries."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | bool = True
    server_name: str | None = None
    proxy: str | None = None


class Credentials(Protocol):
    """A source of access to one cluster. Its methods block: they read files and may run programs."""

    def access(self, *, anew: bool) -> Access:
        """Return access that is valid now; `anew` if the last one was not accepted.

        Raises:
            ClusterUnavailable: there is none to be had now.
        """
        ...


class _KubernetesCredentials:
    """Access by a configuration of the official client."""

    def __init__(self, load: Callable[[Any], None], source: str) -> None:
        self._load = load
        self._source = source
        self._configuration: Any = None
        self._tls: ssl.SSLContext | bool = True
        self._tls_from: tuple[Any, ...] | None = None

    def access(self, *, anew: bool) -> Access:
        """Return access that is valid now; an expired token is fetched again by the official client's own hook."""
        try:
            if anew or self._configuration is None:
                self._configuration, self._tls_from = self._fresh(), None
            bearer = self._configuration.auth_settings().get("BearerToken", {}).get("value")
            return self._access(self._configuration, bearer)
        except ClusterUnavailable:
            raise
        except Exception as error:
            # Files, YAML, programs, certificates: the official client lets through whatever they raise.
            raise ClusterUnavailable(f"the credentials from {self._source} cannot be had: {error}") from error

    def _fresh(self) -> Any:
        from kubernetes.client import Configuration  # noqa: PLC0415 - see the module's docstring

        configuration = Configuration()
        self._load(configuration)
        return configuration

    def _access(self, configuration: Any, bearer: str | None) -> Access:
        url = str(configuration.host).rstrip("/")
        secure = url.startswith("https:")
        if secure and not bearer and not configuration.cert_file:
            # The official client only logs that a program for credentials failed, and goes on without.
            raise ClusterUnavailable(f"{self._source} gives no credentials for {url}")
        return Access(
            url=url,
            headers={"Authorization": bearer} if bearer else {},
            tls=self._context(configuration) if secure else True,
            server_name=configuration.tls_server_name,
            proxy=_proxy(configuration, url),
        )

    def _context(self, configuration: Any) -> ssl.SSLContext | bool:
        """Return the TLS settings, built again only when they changed: connections are pooled by them."""
        source = (
            configuration.ssl_ca_cert,
            configuration.ca_cert_data,
            configuration.cert_file,
            configuration.key_file,
            configuration.verify_ssl,
        )
        if source != self._tls_from:
            context = ssl.create_default_context(
                cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data or None
            )
            if configuration.cert_file:
                context.load_cert_chain(configuration.cert_file, configuration.key_file)
            if not configuration.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._tls, self._tls_from = context, source
        return self._tls


def _proxy(configuration: Any, url: str) -> str | None:
    host = urlsplit(url).hostname or ""
    if not configuration.proxy or proxy_bypass(host, {"no": configuration.no_proxy or ""}):
        return None
    return str(configuration.proxy)


class KubeconfigCredentials(_KubernetesCredentials):
    """Access by a context of a kubeconfig file; the current one if `context` is None."""

    def __init__(self, path: str, context: str | None = None) -> None:
        def load(configuration: Any) -> None:
            from kubernetes.config import load_kube_config  # noqa: PLC0415 - see the module's docstring

            untyped: Callable[..., None] = load_kube_config
            untyped(path, context, configuration, persist_config=False)

        super().__init__(load, f"kubeconfig {path}" + (f", context {context}" if context else ""))


class InClusterCredentials(_KubernetesCredentials):
    """Access by the service account of the pod this process runs in."""

    def __init__(self) -> None:
        def load(configuration: Any) -> None:
            from kubernetes.config import load_incluster_config  # noqa: PLC0415 - see the module's docstring

            untyped: Callable[..., None] = load_incluster_config
            untyped(configuration)

        super().__init__(load, "the pod's service account")
