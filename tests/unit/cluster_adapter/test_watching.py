from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest

from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.observe import Gone, JobSeen, PodSeen
from ips_common.ports.cluster import Lost, Synced, Watch, WatchEvent
from tests.unit.cluster_adapter.api import JOBS, PODS, Api, Reply, Request, a_list, refusal

Line = dict[str, Any]
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "message": "too old resource version: 1 (9)", "code": 410}}
OPEN = Reply(lines=[], hold=True)


def an_object(name: str, version: str = "1") -> Line:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": version,
            "creationTimestamp": "2026-11-24T08:00:00Z",
            "labels": {"app": "image-prewarm", "task-id": "t", "attempt": "0", "batch": "1"},
            "annotations": {"image-prewarm/node": "n"},
        }
    }


def an_event(kind: str, name: str, version: str = "1") -> Line:
    return {"type": kind, "object": an_object(name, version)}


def bookmark(version: str) -> Line:
    return {"type": "BOOKMARK", "object": {"kind": "Job", "metadata": {"resourceVersion": version}}}


def words(event: WatchEvent) -> str:
    match event:
        case JobSeen():
            return f"job {event.name}"
        case PodSeen():
            return f"pod {event.name}"
        case Gone():
            return f"no {event.kind.lower()} {event.name}"
        case Lost():
            return "lost"
        case Synced():
            return "synced"


def until(watch: Watch, last: str, *, times: int = 1) -> list[str]:
    """Return everything up to the event that was waited for."""
    heard: list[str] = []
    for _ in range(100):
        heard += [words(event) for event in watch.get(0.1)]
        if heard.count(last) >= times:
            return heard
    raise AssertionError(heard)


@pytest.fixture
def watching(api: Api, cluster: KubernetesCluster) -> Callable[..., Watch]:
    """Start watches over an empty namespace whose streams stay open, unless the test has said otherwise."""
    for path in (JOBS, PODS):
        api.on("GET", path, a_list())
        api.on("GET", f"{path}?watch", OPEN)
    return lambda seconds=30.0, stop=None: cluster.watch(stop or Event(), seconds=seconds)


def test_first_what_exists_then_changes(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", JOBS, a_list(an_object("a"), more="next"), a_list(an_object("b"), version="7"))
    api.on("GET", PODS, a_list(an_object("p"), version="8"))
    api.on("GET", f"{JOBS}?watch", Reply(lines=[an_event("DELETED", "a", "9")], hold=True))
    api.on("GET", f"{PODS}?watch", Reply(lines=[], hold=True))

    with watching() as watch:
        assert until(watch, "no job a") == ["job a", "job b", "pod p", "synced", "no job a"]
        api.wait(lambda: bool(api.watches(PODS)))

    (request,) = api.watches(JOBS)
    assert request.query["resourceVersion"] == "7"
    assert request.query["labelSelector"] == "app=image-prewarm"
    assert request.query["allowWatchBookmarks"] == "true"
    assert api.watches(PODS)[0].query["resourceVersion"] == "8"


def test_a_stream_that_ends_goes_on_from_the_last_version(api: Api, watching: Callable[..., Watch]) -> None:
    lines = [an_event("ADDED", "a", "5"), bookmark("9")]
    api.on("GET", f"{JOBS}?watch", Reply(lines=lines), Reply(lines=lines[:0], cut=True), OPEN)

    with watching() as watch:
        api.wait(lambda: len(api.watches(JOBS)) == 3)
        assert until(watch, "job a") == ["synced", "job a"]

    assert [request.query["resourceVersion"] for request in api.watches(JOBS)] == ["1", "9", "9"]
    assert len(api.asked("GET", JOBS)) == 1


def test_a_version_that_is_too_old_means_a_new_list(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", JOBS, a_list(an_object("a"), an_object("b")), a_list(an_object("b"), an_object("c"), version="9"))
    api.on("GET", PODS, a_list(an_object("p")))
    api.on("GET", f"{JOBS}?watch", Reply(lines=[EXPIRED]), OPEN)

    with watching() as watch:
        heard = until(watch, "synced", times=2)
        api.wait(lambda: len(api.watches(JOBS)) == 2)

    first = ["job a", "job b", "pod p", "synced"]
    assert heard == [*first, "lost", "job b", "job c", "pod p", "no job a", "synced"]
    assert [request.query["resourceVersion"] for request in api.watches(JOBS)][-1] == "9"


def test_a_watch_refused_as_too_old_means_a_new_list(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", f"{PODS}?watch", refusal(410, "Expired"), OPEN)

    with watching() as watch:
        assert until(watch, "synced", times=2) == ["synced", "lost", "synced"]


def test_an_outage_is_told_once_and_what_vanished_in_it_is_gone(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", PODS, a_list(an_object("p"), an_object("q")), a_list(an_object("q")))

    with watching() as watch:
        assert until(watch, "synced") == ["pod p", "pod q", "synced"]
        api.down()
        assert until(watch, "lost") == ["lost"]
        assert watch.get(0.5) == []
        api.up()
        assert until(watch, "synced") == ["pod q", "no pod p", "synced"]


def test_a_server_that_is_away_from_the_start_is_told_and_waited_for(api: Api, watching: Callable[..., Watch]) -> None:
    api.down()

    with watching() as watch:
        assert until(watch, "lost") == ["lost"]
        api.up()
        assert until(watch, "synced") == ["synced"]


def test_what_a_broken_list_told_is_gone_if_the_next_does_not_know_it(api: Api, watching: Callable[..., Watch]) -> None:
    broken = refusal(410, "Expired", "the continue parameter is too old")
    api.on("GET", JOBS, a_list(an_object("a"), more="next"), broken, a_list())

    with watching() as watch:
        assert until(watch, "synced") == ["job a", "lost", "no job a", "synced"]


def test_where_watching_is_not_allowed_lists_are_compared(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", JOBS, a_list(an_object("a")), a_list(an_object("b")))
    api.on("GET", f"{JOBS}?watch", refusal(403, "Forbidden"))

    with watching() as watch:
        assert until(watch, "no job a") == ["job a", "synced", "job b", "no job a"]


def test_where_listing_is_not_allowed_the_refusal_is_told(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", JOBS, refusal(403, "Forbidden", "jobs.batch is forbidden"))

    with watching() as watch:
        (lost,) = watch.get(5)

    assert isinstance(lost, Lost)
    assert "jobs.batch is forbidden" in lost.message


def test_what_ips_did_not_make_moves_the_version_only(api: Api, watching: Callable[..., Watch]) -> None:
    foreign = an_event("ADDED", "x", "6")
    del foreign["object"]["metadata"]["annotations"]
    api.on("GET", f"{JOBS}?watch", Reply(lines=[foreign]), OPEN)

    with watching() as watch:
        assert until(watch, "synced") == ["synced"]
        api.wait(lambda: len(api.watches(JOBS)) == 2)

    assert api.watches(JOBS)[1].query["resourceVersion"] == "6"


def test_big_objects_make_small_pages(api: Api, watching: Callable[..., Watch]) -> None:
    def page(request: Request) -> Reply:
        size = 200_000 if int(request.query["limit"]) == 100 else 10
        items = [an_object("a") | {"padding": "x" * size} for _ in range(10)]
        return a_list(*items, more="" if "continue" in request.query else "next")

    api.on("GET", PODS, page)

    with watching() as watch:
        until(watch, "synced")

    assert [int(request.query["limit"]) for request in api.asked("GET", PODS)] == [100, 10]


def test_waking_ends_a_wait_and_is_not_forgotten(watching: Callable[..., Watch]) -> None:
    with watching() as watch:
        until(watch, "synced")
        watch.wake()
        assert watch.get(60) == []
        waker = Thread(target=watch.wake)
        waker.start()
        assert watch.get(60) == []
        waker.join()


def test_a_watch_is_over_when_its_time_is(watching: Callable[..., Watch]) -> None:
    with watching(seconds=0.3) as watch:
        heard = [words(event) for _ in range(3) for event in watch.get(60)]

    assert heard == ["synced"]


def test_a_watch_is_over_when_it_is_told_to_stop(watching: Callable[..., Watch]) -> None:
    stop = Event()
    with watching(stop=stop) as watch:
        until(watch, "synced")
        stop.set()
        assert watch.get(60) == []
        assert watch.get(60) == []


def test_a_closed_watch_leaves_no_request_behind(api: Api, watching: Callable[..., Watch]) -> None:
    with watching() as watch:
        until(watch, "synced")
        api.wait(lambda: bool(api.watches(JOBS) and api.watches(PODS)))

    assert watch.get(60) == []
    api.wait(lambda: api.busy == 0)


def test_nonsense_from_the_server_is_raised_not_swallowed(api: Api, watching: Callable[..., Watch]) -> None:
    api.on("GET", f"{JOBS}?watch", Reply(lines=[{"type": "ADDED", "object": {"metadata": {}}}], hold=True))

    with watching() as watch, pytest.raises(ExceptionGroup) as caught:
        until(watch, "never")

    assert caught.group_contains(KeyError)
