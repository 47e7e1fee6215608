"""How to reach an API server and what to show it, as the official client reads it from its many sources.

Tokens, token files, programs that print tokens, client certificates, authorities, proxies: all that is the `kubernetes`
package's business. It is imported when first needed, because its import takes as long as a cold start may.
"""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import pathsep
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from ips_common.errors import ClusterUnavailable

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """Where an API server is and what every request to it carries."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
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

    def unreachable(self) -> None:
        """Take note that no server answered where the last access said; returns at once, any thread may call it."""
        ...


class _KubernetesCredentials:
    """Access by a configuration of the official client."""

    def __init__(self, load: Callable[[Any], None], source: str, files: Sequence[Path] = ()) -> None:
        self._load = load
        self._source = source
        self._files = files
        self._stamp: Sequence[tuple[int, int]] = ()
        self._doubtful = False
        self._configuration: Any = None
        self._tls: ssl.SSLContext | bool = True
        self._tls_from: tuple[Any, ...] | None = None

    def unreachable(self) -> None:
        """Have authorities read again before the next access, and the rest if the files it stands in have changed."""
        self._doubtful = True

    def access(self, *, anew: bool) -> Access:
        """Return access that is valid now; an expired token is fetched again by the official client's own hook."""
        try:
            doubtful, self._doubtful = self._doubtful, False
            if doubtful:
                self._tls_from = None
            if anew or self._configuration is None or (doubtful and self._stamp != self._stamp_now()):
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

        stamp = self._stamp_now()
        configuration = Configuration()
        self._load(configuration)
        self._stamp = stamp
        return configuration

    def _stamp_now(self) -> Sequence[tuple[int, int]]:
        """Return what tells one version of the files from the next; programs they name are not run for nothing."""
        found = [file.stat() for file in self._files if file.exists()]
        return [(status.st_mtime_ns, status.st_size) for status in found]

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
    """Access by a context of a kubeconfig file; the current one if `context` is None.

    Several files may be given as in `KUBECONFIG`.
    """

    def __init__(self, path: str, context: str | None = None) -> None:
        def load(configuration: Any) -> None:
            from kubernetes.config import load_kube_config  # noqa: PLC0415 - see the module's docstring

            untyped: Callable[..., None] = load_kube_config
            untyped(path, context, configuration, persist_config=False)

        source = f"kubeconfig {path}" + (f", context {context}" if context else "")
        super().__init__(load, source, [Path(part).expanduser() for part in path.split(pathsep) if part])


class InClusterCredentials(_KubernetesCredentials):
    """Access by the service account of the pod this process runs in, whose token the kubelet renews in its file."""

    def __init__(self, folder: Path = _ACCOUNT) -> None:
        def load(configuration: Any) -> None:
            from kubernetes.config import incluster_config  # noqa: PLC0415 - see the module's docstring

            loader: Callable[..., Any] = incluster_config.InClusterConfigLoader
            token, authority = str(folder / "token"), str(folder / "ca.crt")
            loader(token_filename=token, cert_filename=authority).load_and_set(configuration)

        super().__init__(load, "the pod's service account")
