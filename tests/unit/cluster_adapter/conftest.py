from collections.abc import Iterator

import pytest

from ips_common.cluster.credentials import Access
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.cluster.transport import Pace
from ips_common.cluster.watching import Rhythm
from tests.unit.cluster_adapter.api import Api

FAST = Pace(attempt=2, connect=1, first_delay=0.01, longest_delay=0.05)
BRISK = Rhythm(list=2, open=0.2, stream=30, poll=0.05, pause=0.01, longest_pause=0.05)


class Token:
    """Credentials whose token changes each time it is asked for anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.renewals = 0
        self.doubts = 0

    def access(self, *, anew: bool) -> Access:
        self.renewals += anew
        return Access(self._url, {"Authorization": f"Bearer token-{self.renewals}"})

    def unreachable(self) -> None:
        self.doubts += 1


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        yield server


@pytest.fixture
def token(api: Api) -> Token:
    return Token(api.url)


@pytest.fixture
def cluster(token: Token) -> Iterator[KubernetesCluster]:
    made = KubernetesCluster("here", token, "ips", in_flight=8, pace=FAST, rhythm=BRISK)
    yield made
    made.close()
