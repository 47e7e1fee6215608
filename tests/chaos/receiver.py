"""A webhook receiver that refuses some deliveries and remembers all events it accepted."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any


class Receiver:
    """Counts accepted deliveries by event id; `statuses` tells which end each event spoke of."""

    def __init__(self, random: Random, refuse: float) -> None:
        self.accepted: Counter[str] = Counter()
        self.tasks: dict[str, str] = {}
        self.refused = 0
        self._random = random
        self._refuse = refuse
        self._lock = threading.Lock()

    def take(self, event: dict[str, Any]) -> int:
        """Accept an event or not; returns the status to answer with."""
        with self._lock:
            if self._random.random() < self._refuse:
                self.refused += 1
                return 503
            self.accepted[event["id"]] += 1
            self.tasks[event["subject"]] = event["type"].rsplit(".", 1)[1]
            return 204


@contextmanager
def receiving(receiver: Receiver) -> Iterator[str]:
    """Serve a receiver; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.take(json.loads(body)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
