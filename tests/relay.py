"""A TCP relay before a part of the stack, through which that part can be taken away in every way a network can.

`cut` is a load balancer that restarts, `freeze` a firewall that begins to drop packets or a machine that hangs,
`refuse` a machine on which nothing listens any more.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Passes bytes on in both directions, as long as it is not told otherwise."""

    def __init__(self, target: str) -> None:
        """Listen on a port of this machine for `target` (`address:port`)."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._port = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accept_on(self._listener)

    @property
    def address(self) -> str:
        """Where to connect instead of to the target."""
        return f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """Break every connection off; new ones work."""
        with self._lock:
            sockets = list(self._open)
        for connection in sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Go on taking connections, but let nothing through any more."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Break every connection off and refuse new ones."""
        self._stop_listening()
        # Bound but not listening: nobody else can take the port meanwhile.
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self.cut()

    def mend(self) -> None:
        """Let everything through again, what has gathered first."""
        self._flowing.set()
        if not self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._listener.listen(256)
            self._accept_on(self._listener)

    def close(self) -> None:
        """Stop for good."""
        self._stop_listening()
        self.cut()
        self._flowing.set()

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake who waits in accept
        self._listener.close()

    def _accept_on(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
        # Only this direction has ended: the other one may still have something to say.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._lock:
            self._open.discard(source)
        source.close()


@contextlib.contextmanager
def relayed(target: str) -> Iterator[Relay]:
    """Run a relay to `target` (`address:port`)."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()
