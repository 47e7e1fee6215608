"""Readiness: every part by name, all at once, in bounded time."""

from collections.abc import Callable, Iterator
from threading import Barrier, Event

import pytest

from functions.api.readiness import Probe, Readiness
from ips_common.cluster.memory import MemoryCluster
from ips_common.errors import ClusterUnavailable
from tests.unit.api.conftest import Api, problem


@pytest.fixture
def release() -> Iterator[Event]:
    """Ends everything that hangs, at the end of the test at the latest."""
    event = Event()
    yield event
    event.set()


def readiness(timeout: float, **asks: Callable[[float], None]) -> Readiness:
    return Readiness({name: Probe(name, ask, required=True) for name, ask in asks.items()}, timeout)


def fine(timeout: float) -> None:
    del timeout


def test_all_is_well(api: Api) -> None:
    answer = api.get("/ready")

    assert answer.status_code == 200
    assert answer.get_json()["status"] == "ready"
    checks = answer.get_json()["checks"]
    assert list(checks) == ["firestore", "pubsub", "cluster/default"]
    assert all(check["ok"] and check["latencyMs"] >= 0 and check["error"] is None for check in checks.values())


@pytest.mark.parametrize("part", ["firestore", "pubsub", "cluster/default"])
def test_what_fails_is_named_with_its_error(api: Api, part: str) -> None:
    api.store.down = part == "firestore"
    api.bus.down = part == "pubsub"
    api.cluster.away = part == "cluster/default"

    answer = api.get("/ready")

    document = problem(answer, 503, "not-ready")
    assert part in document["detail"]
    assert "Retry-After" in answer.headers
    assert [name for name, check in document["checks"].items() if not check["ok"]] == [part]
    assert document["checks"][part]["error"]


def test_everything_that_fails_is_named(api: Api) -> None:
    api.store.down = api.bus.down = api.cluster.away = True

    document = problem(api.get("/ready"), 503, "not-ready")

    assert not any(check["ok"] for check in document["checks"].values())


def test_a_broken_further_cluster_shows_but_does_not_stop_the_api() -> None:
    api = Api(more_clusters=(MemoryCluster("west", 1),))
    api.clusters.get("west").away = True

    answer = api.get("/ready")

    assert (answer.status_code, answer.get_json()["status"]) == (200, "degraded")
    west = answer.get_json()["checks"]["cluster/west"]
    assert (west["ok"], west["required"]) == (False, False)


def test_the_first_cluster_is_required_where_none_is_called_default() -> None:
    api = Api(cluster=MemoryCluster("east", 1), more_clusters=(MemoryCluster("west", 1),))
    api.cluster.away = True

    problem(api.get("/ready"), 503, "not-ready")


def test_a_part_that_hangs_is_named_and_the_others_are_told(release: Event) -> None:
    def hang(timeout: float) -> None:
        del timeout
        release.wait()

    view = readiness(0.5, hanging=hang, other=fine).check()

    assert not release.is_set()
    assert view.status == "unavailable"
    assert view.checks["hanging"].error == "no answer within 0.5 s"
    assert view.checks["other"].ok


def test_a_part_that_hangs_is_not_asked_again_and_again(release: Event) -> None:
    asked: list[float] = []

    def hang(timeout: float) -> None:
        asked.append(timeout)
        release.wait()

    checks = readiness(0.02, hanging=hang)
    for _ in range(5):
        assert not checks.check().checks["hanging"].ok

    assert len(asked) == 1


def test_a_part_that_answers_again_is_ready_again(release: Event) -> None:
    answered = Event()

    def hang(timeout: float) -> None:
        del timeout
        release.wait()
        answered.set()

    checks = readiness(0.5, part=hang)
    assert checks.check().status == "unavailable"
    release.set()
    assert answered.wait(30)

    assert checks.check().status == "ready"


def test_parts_are_asked_at_the_same_time() -> None:
    together = Barrier(3)

    def meet(timeout: float) -> None:
        del timeout
        together.wait(30)

    assert readiness(30, a=meet, b=meet, c=meet).check().status == "ready"


def test_each_part_gets_less_than_the_whole_time() -> None:
    given: list[float] = []

    readiness(2.0, part=given.append).check()

    assert 1.5 < given[0] < 2.0


def test_our_own_errors_are_told_and_foreign_ones_only_named(caplog: pytest.LogCaptureFixture) -> None:
    def away(timeout: float) -> None:
        del timeout
        raise ClusterUnavailable("connection refused")

    def broken(timeout: float) -> None:
        del timeout
        raise RuntimeError("token=secret")

    checks = readiness(30, away=away, broken=broken).check().checks

    assert checks["away"].error == "connection refused"
    assert checks["broken"].error == "RuntimeError"
    assert "readiness check failed unexpectedly" in caplog.messages


def test_health_does_not_ask_anyone(api: Api) -> None:
    api.store.down = api.bus.down = api.cluster.away = True

    answer = api.get("/health")

    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
