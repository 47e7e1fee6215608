"""Receivers of webhooks: a well-behaved one that can be told what to answer, and one that does what a test says."""

import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """What was received."""

    path: str
    headers: dict[str, str]
    body: bytes


def verify(request: Request, secret: str) -> bool:
    """Check the signature as the documentation tells receivers to."""
    parts = [part.partition("=") for part in request.headers["X-IPS-Signature"].split(",")]
    stamp = next(value for name, _, value in parts if name == "t")
    signed = f"{stamp}.".encode() + request.body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return any(name == "v1" and hmac.compare_digest(value, expected) for name, _, value in parts)


@dataclass
class Receiver:
    """An HTTP server on this machine; each path answers with its `answers` in turn, then with 200."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    always: dict[str, int] = field(default_factory=dict)
    location: str = ""

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path.partition("?")[0] == path]

    def status(self, path: str) -> int:
        if path in self.always:
            return self.always[path]
        return self.answers[path].pop(0) if self.answers.get(path) else 200


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append(Request(self.path, dict(self.headers.items()), body))
            self.send_response(receiver.status(self.path.partition("?")[0]))
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it is called by
            del format, args

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            del request, client_address  # a client that does not like our certificate

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Odd:
    """A server that counts its connections and does with each what a test says."""

    port: int
    connections: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    """Set when a connection was dealt with."""

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextmanager
def serving(behave: Callable[[socket.socket], None]) -> Iterator[Odd]:
    """Run a server that behaves badly."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        odd = Odd(listener.getsockname()[1])

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                odd.connections += 1
                with connection, suppress(OSError):
                    behave(connection)
                odd.over.set()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield odd
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Read a request and send these bytes, then close."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        send(connection, pieces)

    return behave


def read_request(connection: socket.socket) -> None:
    """Read until the head of a request is there."""
    got = b""
    while b"\r\n\r\n" not in got and (piece := connection.recv(65536)):
        got += piece


def send(connection: socket.socket, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)
