"""Sources of credentials that hang, and servers that are away: neither may cost other clusters anything."""

import asyncio
import time
from collections.abc import Iterator
from threading import Event

import pytest

from ips_common.cluster.credentials import Access
from ips_common.cluster.inquiry import Inquiry
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.cluster.transport import Pace
from ips_common.errors import ClusterUnavailable
from ips_common.ports.cluster import Creation
from tests.unit.cluster_adapter.api import JOBS, Api, Reply, a_list, refusal
from tests.unit.cluster_adapter.conftest import FAST, Token


class Slow:
    """A source that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.release = Event()

    def access(self, *, anew: bool) -> Access:
        assert not anew
        self.asked += 1
        number = self.asked
        assert self.release.wait(30)
        return Access(f"https://{number}")

    def unreachable(self) -> None:
        raise AssertionError


@pytest.fixture
def slow() -> Iterator[Slow]:
    source = Slow()
    yield source
    source.release.set()


async def impatient(inquiry: Inquiry) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await inquiry.access(anew=False)


def test_a_source_that_hangs_is_asked_once_and_its_late_answer_is_used(slow: Slow) -> None:
    async def ask() -> Access:
        inquiry = Inquiry("here", slow)
        for _ in range(3):
            await impatient(inquiry)
        assert slow.asked == 1
        slow.release.set()
        return await inquiry.access(anew=False)

    assert asyncio.run(ask()).url == "https://1"


def test_a_source_is_asked_anew_once_it_has_answered(slow: Slow) -> None:
    slow.release.set()

    async def ask() -> list[Access]:
        inquiry = Inquiry("here", slow)
        return [await inquiry.access(anew=False) for _ in range(2)]

    assert [access.url for access in asyncio.run(ask())] == ["https://1", "https://2"]


def test_a_source_that_hangs_for_good_is_given_up() -> None:
    class HangsOnce(Slow):
        def access(self, *, anew: bool) -> Access:
            if self.asked:
                self.release.set()
            return super().access(anew=anew)

    async def ask() -> Access:
        inquiry = Inquiry("here", HangsOnce(), given_up_after=0.01)
        await impatient(inquiry)
        return await inquiry.access(anew=False)

    assert asyncio.run(ask()).url == "https://2"


def test_an_error_is_raised_where_the_answer_is_awaited() -> None:
    class Broken(Slow):
        def access(self, *, anew: bool) -> Access:
            assert not anew
            raise ClusterUnavailable("no such file")

    with pytest.raises(ClusterUnavailable, match="no such file"):
        asyncio.run(Inquiry("here", Broken()).access(anew=False))


def test_any_number_of_sources_that_hang_hold_up_no_other_cluster(api: Api, token: Token) -> None:
    api.on("GET", JOBS, a_list())
    sources = [Slow() for _ in range(40)]
    hanging = [KubernetesCluster(f"hanging-{n}", source, "ips", pace=FAST) for n, source in enumerate(sources)]
    try:
        for cluster in hanging:
            with pytest.raises(ClusterUnavailable, match="no credentials within"):
                cluster.ready(0.01)
        assert sum(source.asked for source in sources) == 40

        good = KubernetesCluster("good", token, "ips", pace=FAST)
        good.ready(5)
        good.close()
    finally:
        for source in sources:
            source.release.set()


def test_a_server_that_does_not_answer_counts_as_away_long_before_the_time_is_up(token: Token, api: Api) -> None:
    api.down()
    cluster = KubernetesCluster("here", token, "ips", pace=Pace(away=0.1, first_delay=0.01, longest_delay=0.05))
    began = time.monotonic()

    with pytest.raises(ClusterUnavailable, match="list jobs"):
        cluster.ready(60)

    assert time.monotonic() - began < 30
    assert token.doubts > 0
    assert token.renewals == 0


def test_a_server_that_is_only_busy_gets_all_the_time_there_is(token: Token, api: Api) -> None:
    busy = [refusal(503, "ServiceUnavailable") for _ in range(20)]
    api.on("GET", JOBS, *busy, a_list())
    cluster = KubernetesCluster("here", token, "ips", pace=Pace(away=0.05, first_delay=0.01, longest_delay=0.02))

    cluster.ready(30)

    cluster.close()
    assert len(api.requests) == 21


def test_a_server_that_breaks_off_now_and_then_is_not_away(token: Token, api: Api) -> None:
    wobbly = [answer for _ in range(10) for answer in (Reply(cut=True), refusal(503, "ServiceUnavailable"))]
    api.on("GET", JOBS, *wobbly, a_list())
    cluster = KubernetesCluster("here", token, "ips", pace=Pace(away=0.1, first_delay=0.01, longest_delay=0.02))

    cluster.ready(30)

    cluster.close()
    assert len(api.requests) == 21


def test_a_server_that_takes_a_job_and_says_nothing_counts_as_away(token: Token, api: Api) -> None:
    api.on("POST", JOBS, Reply(lines=(), hold=True))
    cluster = KubernetesCluster("here", token, "ips", pace=Pace(create=0.1, away=0.1, first_delay=0.01))
    began = time.monotonic()

    (outcome,) = cluster.create_jobs([{"metadata": {"name": "a"}}], 600)

    api.release()
    cluster.close()
    assert (outcome.creation, outcome.status) == (Creation.FAILED, 0)
    assert time.monotonic() - began < 30


def test_many_jobs_wait_for_a_server_that_is_away_no_longer_than_one(token: Token, api: Api) -> None:
    api.down()
    pace = Pace(away=0.2, first_delay=0.02, longest_delay=0.02)
    cluster = KubernetesCluster("here", token, "ips", in_flight=4, pace=pace)
    began = time.monotonic()

    outcomes = cluster.create_jobs([{"metadata": {"name": f"job-{number}"}} for number in range(2000)], 600)

    assert {(outcome.creation, outcome.status) for outcome in outcomes} == {(Creation.FAILED, 0)}
    assert "create jobs" in outcomes[-1].message
    assert time.monotonic() - began < 30
