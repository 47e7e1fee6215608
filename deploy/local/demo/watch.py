"""Follows the Jobs and pods of a cluster, noting when the news arrived here.

The API's own times have a resolution of one second, too coarse for what the demo measures.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

from deploy.local.demo.board import Board
from ips_common.observe import APP, APP_LABEL

_config: Any = config
_watch: Any = watch

_SELECTOR = f"{APP_LABEL}={APP}"
_ROUND_S = 60


class ClusterWatch:
    """Two watches that fill a board until they are stopped, as a context manager."""

    def __init__(self, board: Board, kubeconfig: Path, namespace: str) -> None:
        """Watch with the current context of `kubeconfig`."""
        api = _config.new_client_from_config(str(kubeconfig))
        self._board = board
        self._namespace = namespace
        self._end = threading.Event()
        self._watches = [_watch.Watch(), _watch.Watch()]
        lists = [client.BatchV1Api(api).list_namespaced_job, client.CoreV1Api(api).list_namespaced_pod]
        self._threads = [
            threading.Thread(target=self._follow, args=(one, listing), daemon=True, name="watch")
            for one, listing in zip(self._watches, lists, strict=True)
        ]

    def __enter__(self) -> None:
        """Start both watches."""
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop them; each ends with its next event or its round."""
        self._end.set()
        for one in self._watches:
            one.stop()

    def _follow(self, one: Any, listing: Callable[..., Any]) -> None:
        while not self._end.is_set():
            try:
                for event in one.stream(
                    listing, self._namespace, label_selector=_SELECTOR, timeout_seconds=_ROUND_S, deserialize=False
                ):
                    self._see(event["type"], event["object"], time.monotonic())
            except (HTTPError, client.ApiException):
                # The cluster is away for a moment, or for good because the stack is stopping.
                self._end.wait(0.2)

    def _see(self, kind: str, thing: dict[str, Any], at: float) -> None:
        if thing.get("kind") == "Job" and kind == "ADDED":
            self._board.see_job(thing, at)
        elif thing.get("kind") == "Pod":
            self._board.see_pod(thing, at, deleted=kind == "DELETED")
