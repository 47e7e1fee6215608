"""GKE clusters by resource name, against stand-ins of Google's metadata server and API."""

import json
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local.parts import ROOT
from ips_common.cluster.configured import ConfiguredClusters
from ips_common.cluster.gke import FRESH, PAUSE, GkeCredentials, Server, server_of
from ips_common.cluster.kubernetes import KubernetesCluster
from ips_common.config import ClusterSettings, GkeEndpoint
from ips_common.errors import ClusterUnavailable
from tests.unit.cluster_adapter.api import JOBS, Api, Reply, Request, a_list, refusal
from tests.unit.cluster_adapter.conftest import FAST
from tests.unit.cluster_adapter.google import RESOURCE, Google, described, error, google
from tests.unit.cluster_adapter.test_credentials import certificate

MISSING = error(404, "NOT_FOUND", f"Not found: {RESOURCE}.")


class Tokens:
    """A source of tokens that a test can watch."""

    def __init__(self) -> None:
        self.number = 1

    def token(self, *, anew: bool) -> str:
        self.number += anew
        return f"token-{self.number}"


class World:
    """Google, a clock, and the credentials under test."""

    def __init__(self, google: Google) -> None:
        self.google = google
        self.now = 1000.0
        self.tokens = Tokens()
        self.credentials = self.made()

    def made(self, endpoint: GkeEndpoint = "auto") -> GkeCredentials:
        return GkeCredentials(
            RESOURCE, api=self.google.api.url, endpoint=endpoint, tokens=self.tokens, clock=lambda: self.now
        )

    def url(self, *, anew: bool = False) -> str:
        return self.credentials.access(anew=anew).url

    @property
    def lookups(self) -> int:
        return len(self.google.lookups())


@pytest.fixture
def world() -> Iterator[World]:
    with google() as running:
        yield World(running)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("authority"), "server")


@pytest.mark.parametrize(
    ("choice", "cluster", "server"),
    [
        ("auto", described(dns="u.gke.goog", external=True), Server("u.gke.goog", None)),
        ("auto", described(dns="u.gke.goog", external=True, ip_enabled=False), Server("u.gke.goog", None)),
        ("auto", described(dns="u.gke.goog"), Server("203.0.113.7", "PEM")),
        ("auto", {"endpoint": "1.2.3.4", "masterAuth": {"clusterCaCertificate": "UEVN"}}, Server("1.2.3.4", "PEM")),
        ("ip", described(dns="u.gke.goog", external=True), Server("203.0.113.7", "PEM")),
        ("private", described(private="10.0.0.2"), Server("10.0.0.2", "PEM")),
        ("private", described() | {"privateClusterConfig": {"privateEndpoint": "10.0.0.3"}}, Server("10.0.0.3", "PEM")),
        ("dns", described(dns="u.gke.goog", external=True), Server("u.gke.goog", None)),
    ],
)
def test_the_dns_endpoint_is_chosen_where_it_is_open(
    choice: GkeEndpoint, cluster: Mapping[str, Any], server: Server
) -> None:
    assert server_of(cluster, choice) == server


@pytest.mark.parametrize(
    ("choice", "cluster", "words"),
    [
        ("dns", described(dns="u.gke.goog"), "DNS endpoint is not open to external traffic"),
        (
            "auto",
            described(dns="u.gke.goog", ip_enabled=False),
            "IP endpoints are off and its DNS endpoint",
        ),
        ("ip", described(dns="u.gke.goog", external=True, ip_enabled=False), "IP endpoints are off"),
        ("private", described(), "no private endpoint"),
        ("auto", described(ip=None, authority=None, status="PROVISIONING"), "its status is PROVISIONING"),
        ("auto", described() | {"masterAuth": {"clusterCaCertificate": "%%%"}}, "authority cannot be read"),
    ],
)
def test_a_cluster_without_an_endpoint_for_us_is_said_why(
    choice: GkeEndpoint, cluster: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(ClusterUnavailable, match=words):
        server_of(cluster, choice)


def test_an_authority_that_is_none_is_said(world: World) -> None:
    world.google.knows(RESOURCE, described(authority=b"no certificate"))

    with pytest.raises(ClusterUnavailable, match=f"{RESOURCE}: its certificate authority cannot be read"):
        world.url()


def test_the_public_authorities_vouch_for_a_dns_endpoint_and_its_own_for_an_address(
    world: World, authority: tuple[Path, Path]
) -> None:
    world.google.knows(
        RESOURCE, described(dns="u.gke.goog", external=True), described(authority=authority[0].read_bytes())
    )

    public = world.credentials.access(anew=False)
    world.now += FRESH
    own = world.credentials.access(anew=False)

    assert (public.url, public.tls) == ("https://u.gke.goog", True)
    assert own.url == "https://203.0.113.7"
    assert isinstance(own.tls, ssl.SSLContext)
    assert own.tls.verify_mode is ssl.CERT_REQUIRED
    assert own.tls.check_hostname
    assert len(own.tls.get_ca_certs()) == 1


def test_the_token_goes_to_the_api_and_to_the_cluster(world: World) -> None:
    world.google.knows(RESOURCE, described(dns="u.gke.goog", external=True))

    access = world.credentials.access(anew=False)

    assert access.headers == {"Authorization": "Bearer token-1"}
    assert world.google.lookups()[0].headers["Authorization"] == "Bearer token-1"


def test_a_cluster_is_looked_up_once_in_ten_minutes(world: World) -> None:
    world.google.knows(RESOURCE, described(dns="a.gke.goog", external=True), described(dns="b.gke.goog", external=True))

    assert {world.url() for _ in range(3)} == {"https://a.gke.goog"}
    world.now += FRESH - 1
    assert world.url() == "https://a.gke.goog"
    assert world.lookups == 1

    world.now += 1
    assert world.url() == "https://b.gke.goog"
    assert world.lookups == 2


def test_the_same_authority_keeps_its_connections(world: World, authority: tuple[Path, Path]) -> None:
    world.google.knows(RESOURCE, described(authority=authority[0].read_bytes()))

    first = world.credentials.access(anew=False)
    world.now += FRESH
    second = world.credentials.access(anew=False)

    assert world.lookups == 2
    assert first.tls is second.tls


@pytest.mark.parametrize("how", ["unreachable", "anew"])
def test_a_cluster_that_is_not_found_where_it_was_is_looked_up_again(world: World, how: str) -> None:
    world.google.knows(RESOURCE, described(dns="a.gke.goog", external=True), described(dns="b.gke.goog", external=True))
    world.url()

    world.now += PAUSE
    if how == "unreachable":
        world.credentials.unreachable()

    assert world.url(anew=how == "anew") == "https://b.gke.goog"
    assert world.credentials.access(anew=False).headers["Authorization"] == (
        "Bearer token-2" if how == "anew" else "Bearer token-1"
    )


def test_a_cluster_that_stays_away_does_not_flood_the_api(world: World) -> None:
    world.google.knows(RESOURCE, described(dns="a.gke.goog", external=True))

    for _ in range(100):
        world.credentials.unreachable()
        world.url()
        world.now += PAUSE / 10

    assert 9 <= world.lookups <= 11


@pytest.mark.parametrize(
    "answer", [Reply(cut=True), error(500, "INTERNAL", "Oh"), error(403, "PERMISSION_DENIED", "No"), Reply(200, b"<x>")]
)
def test_a_known_cluster_stays_usable_while_the_api_does_not_say(
    world: World, answer: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    world.google.knows(
        RESOURCE, described(dns="a.gke.goog", external=True), answer, described(dns="b.gke.goog", external=True)
    )
    world.url()
    world.now += FRESH

    with caplog.at_level(logging.WARNING, "ips_common"):
        assert world.url() == "https://a.gke.goog"
    assert "cluster not looked up again" in caplog.messages

    world.now += PAUSE
    assert world.url() == "https://b.gke.goog"


def test_a_cluster_that_was_deleted_is_said_to_be_missing_until_it_is_back(world: World) -> None:
    world.google.knows(
        RESOURCE, described(dns="a.gke.goog", external=True), MISSING, described(dns="b.gke.goog", external=True)
    )
    world.url()
    world.now += PAUSE
    world.credentials.unreachable()

    with pytest.raises(ClusterUnavailable, match=f"{RESOURCE}: there is no such cluster"):
        world.url()

    assert world.url() == "https://b.gke.goog"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (MISSING, f"there is no such cluster; Google's API answers 404: Not found: {RESOURCE}"),
        (
            error(403, "PERMISSION_DENIED", 'Required "container.clusters.get" permission(s) for "x".'),
            "the account needs container.clusters.get",
        ),
        (
            error(403, "PERMISSION_DENIED", "Kubernetes Engine API has not been used in project 1", "SERVICE_DISABLED"),
            "the Kubernetes Engine API is off in this project",
        ),
        (error(429, "RESOURCE_EXHAUSTED", "Quota exceeded"), "answers 429: Quota exceeded"),
        (Reply(502, b"<html>"), "answers 502"),
        (Reply(302, {}, {"Location": "https://elsewhere.example"}), "answers 302"),
        (Reply(cut=True), "Google's API cannot be reached"),
    ],
)
def test_what_keeps_a_cluster_from_being_found_is_said_and_passes(world: World, answer: Reply, words: str) -> None:
    world.google.knows(RESOURCE, answer, described(dns="a.gke.goog", external=True))

    with pytest.raises(ClusterUnavailable, match=f"^{RESOURCE}: .*") as raised:
        world.url()

    assert words in str(raised.value)
    assert "token-" not in str(raised.value)
    assert world.url() == "https://a.gke.goog"


def test_a_token_the_api_does_not_take_is_renewed_once(world: World) -> None:
    def answer(request: Request) -> Reply:
        good = request.headers["Authorization"] == "Bearer token-2"
        return Reply(body=described(dns="a.gke.goog", external=True)) if good else error(401, "UNAUTHENTICATED", "Bad")

    world.google.knows(RESOURCE, answer)

    assert world.credentials.access(anew=False).headers == {"Authorization": "Bearer token-2"}


def test_a_cluster_that_moved_is_followed_within_one_call(world: World, authority: tuple[Path, Path]) -> None:
    """As one does that is made anew under its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    with Api(context) as old, Api(context) as new:
        for server in (old, new):
            server.on("GET", JOBS, a_list())
        places = [
            described(ip=server.url.removeprefix("https://"), authority=authority[0].read_bytes())
            for server in (old, new)
        ]
        world.google.knows(RESOURCE, *places)
        cluster = KubernetesCluster("prod", world.credentials, "ips", pace=FAST)
        cluster.ready(5)
        old.down()
        world.now += PAUSE

        cluster.ready(5)

        cluster.close()
        assert (len(old.requests), len(new.requests)) == (1, 1)


def test_a_cluster_with_a_new_authority_is_trusted_after_another_look(world: World, tmp_path: Path) -> None:
    mine = certificate(tmp_path, "mine")
    other = certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*mine)
    with Api(context) as server:
        server.on("GET", JOBS, a_list())
        host = server.url.removeprefix("https://")
        world.google.knows(
            RESOURCE,
            described(ip=host, authority=other[0].read_bytes()),
            described(ip=host, authority=mine[0].read_bytes()),
        )
        cluster = KubernetesCluster("prod", world.credentials, "ips", pace=FAST)
        with pytest.raises(ClusterUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            cluster.ready(0.3)
        assert server.requests == []
        world.now += PAUSE

        cluster.ready(5)

        cluster.close()


SCRIPT = """
import json, logging, sys
from ips_common.cluster.google_token import GoogleToken
from ips_common.errors import ClusterUnavailable
logging.basicConfig(level="DEBUG", stream=sys.stderr)
source = GoogleToken()
for line in sys.stdin:
    try:
        print(json.dumps(source.token(anew=line.strip() == "anew")), flush=True)
    except ClusterUnavailable as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""


class Process:
    """Another process: where the metadata server is, the library reads when it is imported."""

    def __init__(self, google: Google, folder: Path) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | google.environment(folder) | {"PYTHONPATH": str(ROOT), "GOOGLE_CLOUD_PROJECT": "acme"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def token(self, how: str = "") -> Any:
        assert self._popen.stdin
        assert self._popen.stdout
        self._popen.stdin.write(how + "\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())

    def log(self) -> str:
        _, log = self._popen.communicate(timeout=30)
        return log


@pytest.fixture
def process(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    made = Process(world.google, tmp_path)
    yield made
    made._popen.kill()
    made._popen.communicate()


def test_a_token_comes_from_the_metadata_server_and_is_kept(world: World, process: Process) -> None:
    assert [process.token(), process.token()] == ["token-1", "token-1"]

    (asked,) = world.google.tokens()
    assert asked.query["scopes"].split(",") == [
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/userinfo.email",
    ]
    assert "token-1" not in process.log()


def test_a_token_is_renewed_before_it_expires_and_when_it_was_refused(world: World, process: Process) -> None:
    world.google.lifetime = 120
    assert process.token() == "token-1"
    world.google.token = "token-2"
    assert process.token() == "token-2"
    world.google.lifetime = 3600
    world.google.token = "token-3"
    assert process.token() == "token-3"
    world.google.token = "token-4"
    assert process.token() == "token-3"
    assert process.token("anew") == "token-4"


def test_a_token_that_cannot_be_renewed_is_used_while_it_lasts(world: World, process: Process) -> None:
    world.google.lifetime = 120
    assert process.token() == "token-1"
    world.google.metadata.on("GET", "/computeMetadata/v1/instance/service-accounts/default/token", Reply(404))

    assert process.token() == "token-1"
    assert "no token to be had from Google" in process.token("anew")["error"]
    assert "token not renewed yet" in process.log()


def test_a_cluster_by_its_resource_name_in_the_configuration(world: World) -> None:
    settings = {"far": ClusterSettings(gke=RESOURCE)}
    clusters = ConfiguredClusters(settings, "ips", gke_api=world.google.api.url)

    assert clusters.get("far").name == "far"
    assert (world.lookups, len(world.google.tokens())) == (0, 0)


def test_a_token_the_cluster_does_not_take_is_renewed_once(world: World, authority: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    with Api(context) as server:
        server.on("GET", JOBS, refusal(401, "Unauthorized"), a_list())
        world.google.knows(
            RESOURCE, described(ip=server.url.removeprefix("https://"), authority=authority[0].read_bytes())
        )
        cluster = KubernetesCluster("prod", world.credentials, "ips", pace=FAST)
        cluster.ready(5)
        cluster.close()
        assert [request.headers["Authorization"] for request in server.requests] == ["Bearer token-1", "Bearer token-2"]
