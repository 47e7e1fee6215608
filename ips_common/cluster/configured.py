"""The clusters named in the configuration."""

from collections.abc import Mapping, Sequence
from functools import partial
from threading import Lock

from ips_common.cluster.credentials import Credentials, InClusterCredentials, KubeconfigCredentials
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.cluster.watching import Rhythm
from ips_common.config import GKE_API, ClusterSettings
from ips_common.errors import InvalidRequest


class ConfiguredClusters:
    """Real clusters, each made when first asked for; none is contacted before it is used."""

    def __init__(
        self,
        settings: Mapping[str, ClusterSettings],
        namespace: str,
        *,
        poll_interval: float | None = None,
        gke_api: str = GKE_API,
    ) -> None:
        """Take in the configuration.

        Args:
            settings: name → how to reach the cluster.
            namespace: where Jobs live, the same in all.
            poll_interval: seconds between lists where a watch cannot be held.
            gke_api: base URL of the API that knows GKE clusters.
        """
        self._make = {
            name: partial(KubernetesCluster, name, _credentials(each, gke_api), namespace)
            for name, each in settings.items()
        }
        self._rhythm = Rhythm() if poll_interval is None else Rhythm(poll=poll_interval)
        self._made: dict[str, KubernetesCluster] = {}
        self._lock = Lock()

    def names(self) -> Sequence[str]:
        """Return all names, in the order of the configuration."""
        return list(self._make)

    def get(self, name: str) -> KubernetesCluster:
        """Return a cluster.

        Raises:
            InvalidRequest: no cluster has this name.
        """
        if name not in self._make:
            raise InvalidRequest(f"no cluster is called {name}; there are {', '.join(self._make)}")
        with self._lock:
            if name not in self._made:
                self._made[name] = self._make[name](rhythm=self._rhythm)
            return self._made[name]

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for cluster in self._made.values():
                cluster.close()


def _credentials(settings: ClusterSettings, gke_api: str) -> Credentials:
    if settings.kubeconfig is not None:
        return KubeconfigCredentials(settings.kubeconfig, settings.context)
    if settings.gke is not None:
        from ips_common.cluster.gke import GkeCredentials  # noqa: PLC0415 - only those who have such a cluster pay

        return GkeCredentials(settings.gke, api=gke_api, endpoint=settings.gke_endpoint)
    return InClusterCredentials()
