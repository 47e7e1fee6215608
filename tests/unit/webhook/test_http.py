"""Calling webhooks on real sockets: what is sent, where it never goes, and what no receiver can make it do."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from socket import AF_INET, AF_INET6, AddressFamily, socket
from threading import Event
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ips_common.ports.webhook import Reply
from ips_common.webhook.address import AddressRules
from ips_common.webhook.http import HttpCourier
from tests.unit.webhook.receiver import Receiver, answer, read_request, receiving, serving, verify

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRETS = ("first-secret-of-tests", "second-secret-of-tests")
HERE = AddressRules(networks=[ip_network("127.0.0.0/8")])
BODY = b'{"id": "event-1"}'


class Names(AbstractResolver):
    """DNS by a table; every lookup of a name takes its next addresses."""

    def __init__(self, table: Mapping[str, list[list[str]]]) -> None:
        self._table = {name: list(answers) for name, answers in table.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        del family
        self.asked.append(host)
        if not self._table.get(host):
            raise OSError(None, "no such name")
        return [
            ResolveResult(
                hostname=host, host=found, port=port, family=AF_INET6 if ":" in found else AF_INET, proto=0, flags=0
            )
            for found in self._table[host].pop(0)
        ]

    async def close(self) -> None:
        pass


def courier(rules: AddressRules = HERE, names: Names | None = None, **more: Any) -> HttpCourier:
    if names is not None:
        more["resolver"] = lambda: names
    return HttpCourier(rules, SECRETS, **{"timeout": 5.0, **more})


def call(url: str, rules: AddressRules = HERE, **more: Any) -> Reply:
    return courier(rules, **more).deliver(url, "event-1", BODY, AT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_an_event_is_posted_as_it_is_and_signed_with_every_secret(receiver: Receiver) -> None:
    assert call(receiver.url("/hook/%2F?token=a%20b&c")) == Reply(200)
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/hook/%2F?token=a%20b&c", BODY)
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["X-IPS-Event-Id"] == "event-1"
    assert request.headers["X-IPS-Signature"].startswith("t=1767323045,v1=")
    assert all(verify(request, secret) for secret in SECRETS)
    assert "Authorization" not in request.headers


def test_nothing_is_ever_sent_unsigned(receiver: Receiver) -> None:
    reply = HttpCourier(HERE, ()).deliver(receiver.url("/hook"), "event-1", BODY, AT)
    assert "IPS_WEBHOOK_SECRETS" in reply.problem
    assert not receiver.requests


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_takes_the_event(receiver: Receiver, status: int) -> None:
    receiver.always["/hook"] = status
    reply = call(receiver.url("/hook"))
    assert (reply.delivered, reply.status) == (True, status)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (400, "the receiver answered 400 Bad Request"),
        (404, "the receiver answered 404 Not Found"),
        (410, "the receiver answered 410 Gone"),
        (500, "the receiver answered 500 Internal Server Error"),
        (599, "the receiver answered 599"),
    ],
)
def test_any_other_status_is_told(receiver: Receiver, status: int, problem: str) -> None:
    receiver.always["/hook"] = status
    assert call(receiver.url("/hook")) == Reply(status, problem)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(receiver: Receiver, status: int) -> None:
    with receiving() as inner:
        receiver.always["/hook"] = status
        receiver.location = inner.url("/stolen")
        assert call(receiver.url("/hook")) == Reply(
            status, f"the receiver answered {status}; redirects are not followed"
        )
        assert not inner.requests


# --- where it never goes


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
        "127\u30020\u30020\u30021",
        "user@127.0.0.1",
        "example.com@127.0.0.1",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
    ],
)
def test_no_spelling_of_this_machine_leads_to_it(host: str) -> None:
    with serving(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as odd:
        reply = call(odd.url(host=host), AddressRules(), timeout=2.0)
        assert not reply.delivered
        assert odd.connections == 0


def test_a_name_that_leads_to_a_private_address_is_not_called(receiver: Receiver) -> None:
    names = Names({"rebind.example": [["127.0.0.1"]]})
    reply = call(receiver.url("/hook", "rebind.example"), AddressRules(), names=names)
    assert reply == Reply(0, "the receiver has a private, local or reserved address")
    assert not receiver.requests


def test_a_name_is_looked_up_once_and_what_was_checked_is_called(receiver: Receiver) -> None:
    names = Names({"rebind.example": [["127.0.0.1"], ["10.0.0.1"]]})
    assert call(receiver.url("/hook", "rebind.example"), names=names).delivered
    assert names.asked == ["rebind.example"]
    assert receiver.requests[0].headers["Host"] == f"rebind.example:{receiver.port}"


def test_of_several_addresses_only_allowed_ones_are_called() -> None:
    names = Names({"mixed.example": [["127.0.0.2", "::ffff:127.0.0.1", "127.0.0.1"]]})
    with receiving() as receiver:
        rules = AddressRules(networks=[ip_network("127.0.0.1/32")])
        assert call(receiver.url("/hook", "mixed.example"), rules, names=names).delivered
        assert len(receiver.requests) == 1


def test_a_host_that_the_operator_names_is_called_wherever_it_leads(receiver: Receiver) -> None:
    names = Names({"receiver.internal": [["127.0.0.1"]], "other.internal": [["127.0.0.1"]]})
    rules = AddressRules(hosts=["receiver.internal"])
    assert call(receiver.url("/hook", "receiver.internal"), rules, names=names).delivered
    assert not call(receiver.url("/hook", "other.internal"), rules, names=names).delivered


def test_a_host_is_named_as_it_is_called_not_as_it_is_shown(receiver: Receiver) -> None:
    name = "xn--bcher-kva.example"
    rules = AddressRules(hosts=[name])
    assert call(receiver.url("/hook", name), rules, names=Names({name: [["127.0.0.1"]]})).delivered


def test_proxies_of_the_environment_are_ignored(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url("/"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert call(receiver.url("/hook")).delivered
        assert (proxy.connections, len(receiver.requests)) == (0, 1)


# --- what a receiver may do


def drip(head: bytes, piece: bytes) -> Callable[[socket], None]:
    """Read a request, then send `head` and `piece` after `piece` until the other side is gone."""

    def behave(connection: socket) -> None:
        read_request(connection)
        connection.sendall(head)
        connection.settimeout(0.05)
        while True:
            connection.sendall(piece)
            try:
                if not connection.recv(65536):
                    return
            except TimeoutError:
                continue

    return behave


def silent(connection: socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    "behave",
    [silent, drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), drip(b"", b"H"), drip(b"HTTP/1.1 100 Continue\r\n\r\n", b"")],
    ids=["silent", "dripping-headers", "dripping-nonsense", "continue-for-ever"],
)
def test_a_receiver_that_takes_its_time_is_left(behave: Callable[[socket], None]) -> None:
    with serving(behave) as odd:
        reply = call(odd.url(), timeout=0.4)
        assert not reply.delivered
        assert reply.status == 0
        assert odd.over.wait(10), "the connection is closed"


def test_a_receiver_that_does_not_read_is_left() -> None:
    def deaf(connection: socket) -> None:
        del connection
        gone.wait(10)

    gone = Event()
    with serving(deaf) as odd:
        reply = courier(timeout=0.4).deliver(odd.url(), "event-1", b"x" * 20_000_000, AT)
        gone.set()
    assert reply == Reply(0, "no answer within 0.4 s")


def test_an_answer_whose_body_never_ends_counts_but_is_left() -> None:
    with serving(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x")) as odd:
        assert call(odd.url(), timeout=0.4) == Reply(200)
        assert odd.over.wait(10), "the connection is closed"


def test_no_more_of_an_answer_is_read_than_64_kib() -> None:
    def flood(connection: socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 100_000)
            sent.append(100_000)

    sent: list[int] = []
    with serving(flood) as odd:
        assert call(odd.url(), timeout=60.0) == Reply(200)
        assert odd.over.wait(10)
    assert sum(sent) < 100_000_000


def test_an_answer_whose_body_breaks_off_counts() -> None:
    with serving(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x")) as odd:
        assert call(odd.url()) == Reply(200)


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([], "the receiver closed the connection without an answer"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], "the receiver's answer is no HTTP"),
        ([b"HTTP/1.1 20x OK\r\n\r\n"], "the receiver's answer is no HTTP"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"], "the receiver's answer is no HTTP"),
    ],
)
def test_what_is_no_answer_is_told_without_quoting_it(pieces: list[bytes], problem: str) -> None:
    with serving(answer(*pieces)) as odd:
        assert call(odd.url()) == Reply(0, problem)


def test_a_receiver_that_is_not_there_is_told() -> None:
    with serving(silent) as odd:
        pass
    assert call(odd.url()) == Reply(0, "no connection to the receiver")
    assert call(odd.url(host="nowhere.example"), names=Names({})) == Reply(0, "the receiver's name cannot be resolved")


class Stuck(AbstractResolver):
    """DNS that does not answer, in a thread as the system's resolver has it."""

    def __init__(self, until: Event) -> None:
        self._until = until

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        del host, port, family
        await asyncio.get_running_loop().run_in_executor(None, self._until.wait)
        return []

    async def close(self) -> None:
        pass


def test_dns_that_does_not_answer_is_left() -> None:
    until = Event()
    try:
        reply = call("http://hooks.example/", resolver=lambda: Stuck(until), timeout=0.3)
        assert reply == Reply(0, "no answer within 0.3 s")
    finally:
        until.set()


@pytest.mark.parametrize("url", ["http://[::1", "http://a..b/", f"http://{'a' * 300}/", "ftp://127.0.0.1/", "x", ""])
def test_a_url_that_cannot_be_called_is_told(url: str) -> None:
    assert not call(url).delivered


def test_no_problem_quotes_the_url(receiver: Receiver) -> None:
    receiver.always["/secret-path"] = 500
    urls = [
        receiver.url("/secret-path?token=secret-token"),
        "http://127.0.0.1:1/secret-path?token=secret-token",
        "http://secret-host.invalid/secret-path",
        "http://10.0.0.1/secret-path",
        "ftp://secret-host/secret-path",
        "https://127.0.0.1:1/secret-path",
    ]
    for url in urls:
        reply = call(url, names=Names({}))
        assert reply.problem
        assert "secret" not in reply.problem


# --- TLS


class Authority:
    """A certificate authority of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        self.certificate = self._issue(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))

    def server(self, name: str) -> ssl.SSLContext:
        """What a server of this name identifies itself with."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issued = self._issue(subject, key, x509.SubjectAlternativeName([x509.DNSName(name)]))
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + issued.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def trusted(self) -> ssl.SSLContext:
        """What a client that trusts this authority checks servers with."""
        return ssl.create_default_context(cadata=self.certificate.public_bytes(Encoding.PEM).decode())

    def _issue(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(extension, critical=False)
            .sign(self._key, SHA256())
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def secure(receiver: Receiver, host: str) -> str:
    return f"https://{host}:{receiver.port}/hook"


def test_the_certificate_is_checked_against_the_name_not_the_address(authority: Authority) -> None:
    names = Names({"hooks.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    with receiving(authority.server("hooks.example")) as receiver:
        assert call(secure(receiver, "hooks.example"), names=names, tls=authority.trusted()) == Reply(200)
        assert call(secure(receiver, "other.example"), names=names, tls=authority.trusted()) == Reply(
            0, "the receiver's certificate cannot be verified"
        )
        assert len(receiver.requests) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(authority: Authority) -> None:
    names = Names({"hooks.example": [["127.0.0.1"]]})
    with receiving(authority.server("hooks.example")) as receiver:
        reply = call(secure(receiver, "hooks.example"), names=names)
        assert reply == Reply(0, "the receiver's certificate cannot be verified")
        assert not receiver.requests


def test_a_server_without_tls_is_told(receiver: Receiver) -> None:
    assert call(secure(receiver, "127.0.0.1")) == Reply(0, "no TLS connection to the receiver")


def test_a_handshake_that_never_ends_is_left() -> None:
    with serving(silent) as odd:
        assert call(odd.url().replace("http:", "https:"), timeout=0.4) == Reply(0, "no answer within 0.4 s")
        assert odd.over.wait(10)
