"""The configured clusters."""

from functools import cache

from ips_common.cluster.configured import ConfiguredClusters
from ips_common.ports.cluster import Clusters
from ips_common.wiring.configuration import configure


@cache
def clusters() -> Clusters:
    """Return the clusters; none is contacted before it is used."""
    config = configure()
    return ConfiguredClusters(
        config.clusters, config.namespace, poll_interval=config.status_poll_interval, gke_api=config.gke_api
    )
