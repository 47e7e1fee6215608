"""How long a caller may take to send what it sends: a thread waits for it."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any


@contextmanager
def within(seconds: float, environ: Mapping[str, Any]) -> Iterator[None]:
    """Read from a caller inside; after `seconds` it reads as if the caller had sent nothing more.

    The answer can still be written. On servers that do not show their socket (gunicorn does) nothing is bounded.
    """
    connection = environ.get("gunicorn.socket")
    if connection is None:
        yield
        return
    timer = Timer(seconds, _hear_no_more, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hear_no_more(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
