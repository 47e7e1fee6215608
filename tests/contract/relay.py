"""A relay before the Firestore emulator that counts what passes and can lose answers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud.firestore_v1.types import BatchGetDocumentsRequest, CommitRequest, RunQueryResponse

_SERVICE = "/google.firestore.v1.Firestore/"
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Relay(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """Passes calls on; `written` and `read` count documents, `largest` is the biggest commit in bytes."""

    def __init__(self, target: str) -> None:
        self.written = 0
        self.read = 0
        self.commits = 0
        self.largest = 0
        self.lose_answers = 0
        """How many commits from now on take place without their answer coming through."""
        self._channel = grpc.insecure_channel(target, options=_UNLIMITED)
        self._lock = threading.Lock()

    def service(self, call: Any) -> Any:
        """See `grpc.GenericRpcHandler`."""
        method = call.method
        onward = self._channel.unary_stream(method)

        def handle(request: bytes, context: Any) -> Iterator[bytes]:
            metadata = [(key, value) for key, value in context.invocation_metadata() if key == "authorization"]
            self._count_request(method, request)
            try:
                for answer in onward(request, timeout=context.time_remaining(), metadata=metadata):
                    if method == f"{_SERVICE}Commit" and self._loses():
                        context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
                    self._count_answer(method, answer)
                    yield answer
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_stream_rpc_method_handler(handle)

    def close(self) -> None:
        """Let go of the emulator."""
        self._channel.close()

    def _loses(self) -> bool:
        with self._lock:
            if self.lose_answers <= 0:
                return False
            self.lose_answers -= 1
            return True

    def _count_request(self, method: str, request: bytes) -> None:
        with self._lock:
            if method == f"{_SERVICE}Commit":
                writes = CommitRequest.deserialize(request).writes
                self.written += len(writes)
                self.commits += 1
                self.largest = max(self.largest, len(request))
            elif method == f"{_SERVICE}BatchGetDocuments":
                self.read += len(BatchGetDocumentsRequest.deserialize(request).documents)

    def _count_answer(self, method: str, answer: bytes) -> None:
        if method == f"{_SERVICE}RunQuery" and RunQueryResponse.deserialize(answer).document.name:
            with self._lock:
                self.read += 1


@contextmanager
def relaying(target: str, port: int = 0) -> Iterator[tuple[Relay, str]]:
    """Run a relay to `target` on `port` (0: any); yields it and its own `address:port`."""
    relay = Relay(target)
    server = grpc.server(ThreadPoolExecutor(32), options=_UNLIMITED)
    server.add_generic_rpc_handlers((relay,))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield relay, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        relay.close()
