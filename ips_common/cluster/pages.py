"""Lists in pages small enough to hold, however big their objects are."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ips_common.cluster.status import Call
from ips_common.cluster.transport import Transport

MAX_ITEMS = 500
"""Most objects of a page, as many as kubectl asks for."""

_FIRST_ITEMS = 100
_PAGE_BYTES = 2 << 20
"""Aim for a page's size; parsed it takes some six times that."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects, and the version of the whole list, from which a watch may begin."""

    items: list[dict[str, Any]]
    version: str


async def pages(
    transport: Transport,
    call: Call,
    deadline: float,
    params: Mapping[str, str] | None = None,
    *,
    patience: float | None = None,
) -> AsyncIterator[Page]:
    """List objects page by page; all pages are of one moment.

    Pods of 50 images are 60 KiB each, so the first page's objects tell how many the next may hold.

    Raises:
        ClusterUnavailable: no answer in time; `Expired` if reading took longer than the server keeps old versions.
        ClusterRefused: the server said no.
    """
    limit, token = _FIRST_ITEMS, ""
    while True:
        query = dict(params or {}) | {"limit": str(limit)} | ({"continue": token} if token else {})
        page, token, size = _parse((await transport.ask(call, deadline, params=query, patience=patience)).body)
        if page.items:
            limit = max(10, min(MAX_ITEMS, _PAGE_BYTES * len(page.items) // size))
        yield page
        del page  # or it would stay until the next one is parsed
        if not token:
            return


def _parse(body: bytes) -> tuple[Page, str, int]:
    document = orjson.loads(body)
    metadata = document["metadata"]
    page = Page(document.get("items") or [], metadata.get("resourceVersion") or "")
    return page, metadata.get("continue") or "", len(body)
