"""Looking up releases of Cloud Deploy."""

from functools import cache

from ips_common.ports.releases import Releases
from ips_common.releases.clouddeploy import CloudDeployReleases
from ips_common.wiring.configuration import configure


@cache
def releases() -> Releases:
    """Return the releases; nothing is contacted before one is looked up."""
    return CloudDeployReleases(configure().deploy_api)
