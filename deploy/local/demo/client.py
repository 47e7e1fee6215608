"""The few calls of the HTTP API that the demo makes."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from deploy.local.errors import StackError

_TIMEOUT_S = 30
_PAGE = 100
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Client:
    """The API at one base URL."""

    def __init__(self, base: str) -> None:
        self._base = f"{base}/api/v1/tasks"

    def create(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Create a task.

        Raises:
            StackError: The API refuses, or does not answer.
        """
        return self._call("POST", "", request)

    def task(self, task_id: str) -> dict[str, Any]:
        """Read a task.

        Raises:
            StackError: The API refuses, or does not answer.
        """
        return self._call("GET", f"/{task_id}")

    def nodes(self, task_id: str) -> list[dict[str, Any]]:
        """Read every node's result, page by page.

        Raises:
            StackError: The API refuses, or does not answer.
        """
        nodes: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": _PAGE}
        while True:
            page = self._call("GET", f"/{task_id}/nodes?{urlencode(query)}")
            nodes += page["nodes"]
            if not page.get("nextPageToken"):
                return nodes
            query["pageToken"] = page["nextPageToken"]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._base}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                told = error.read().decode("utf-8", "replace")
            raise StackError(f"{method} {self._base}{path} was answered {error.code}: {told}") from error
        except OSError as error:
            raise StackError(f"{method} {self._base}{path} was not answered: {error}") from error
