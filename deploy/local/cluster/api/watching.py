"""Watches: history first, then what happens, until the time is up or somebody cuts the connection."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping

import orjson
from aiohttp import web

from deploy.local.cluster.api.listing import matcher, number
from deploy.local.cluster.api.rendering import Rendering
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.kinds import Kind
from deploy.local.cluster.selectors import Matcher
from deploy.local.cluster.store import Change, Item, Store

_END_OF_INITIAL_EVENTS = {"k8s.io/initial-events-end": "true"}
# The real server gives up on a watcher that does not read; this is some minutes of a busy cluster.
_MOST_PENDING = 100_000


class Watcher:
    """One open watch: what it wants and what it has not been sent yet."""

    def __init__(self, store: Store, kind: Kind, namespace: str, matches: Matcher | None, form: Rendering) -> None:
        self.kind = kind
        self._store = store
        self._namespace = namespace
        self._matches = matches
        self._form = form
        self._pending: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def begin(self, query: Mapping[str, str]) -> Callable[[], None]:
        """Queue what the client missed and follow from here on; returns how to stop.

        Raises:
            ApiError: the asked version is no number or no longer held.
        """
        text = query.get("resourceVersion", "")
        version = number(text) if text else 0
        initial = query.get("sendInitialEvents") == "true"
        if version and not initial:
            for change in self._store.since(self.kind, version):
                self._take(change)
        elif initial or query.get("sendInitialEvents") != "false":
            for item in self._store.scan(self.kind, self._namespace):
                if self._matches is None or self._matches(item.obj):
                    self._queue("ADDED", item)
        if initial:
            self._mark(_END_OF_INITIAL_EVENTS)
        return self._store.listen(self.kind, self._take)

    def close(self) -> None:
        """End the watch, as a server that goes away does."""
        self._closed = True
        self._wake.set()

    def _take(self, change: Change) -> None:
        if self._namespace and change.item.key[0] != self._namespace:
            return
        seen = change.seen_by(self._matches)
        if seen is not None:
            self._queue(seen, change.item)

    def _queue(self, seen: str, item: Item) -> None:
        self._pending.append(b'{"type":"%b","object":%b}\n' % (seen.encode(), self._form.object(self.kind, item)))
        if len(self._pending) > _MOST_PENDING:
            self._closed = True
        self._wake.set()

    def _mark(self, annotations: dict[str, str] | None = None) -> None:
        meta: dict[str, object] = {"resourceVersion": str(self._store.version)}
        if annotations:
            meta["annotations"] = annotations
        self._pending.append(b'{"type":"BOOKMARK","object":%b}\n' % self._form.bookmark(self.kind, meta))
        self._wake.set()

    async def stream(self, response: web.StreamResponse, seconds: float, bookmark_seconds: float | None) -> None:
        """Send events until the time is up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        mark = loop.time() + bookmark_seconds if bookmark_seconds else until
        while not self._closed:
            if self._pending:
                chunk = b"".join(self._pending)
                self._pending.clear()
                await response.write(chunk)
                continue
            self._wake.clear()
            now = loop.time()
            if now >= until:
                if bookmark_seconds:
                    # Where to go on from, before the time is up.
                    self._mark()
                    await response.write(b"".join(self._pending))
                return
            if bookmark_seconds and now >= mark:
                self._mark()
                mark = now + bookmark_seconds
                continue
            try:
                async with asyncio.timeout(min(until, mark) - now):
                    await self._wake.wait()
            except TimeoutError:
                continue


class Watches:
    """All open watches."""

    def __init__(self, store: Store, bookmark_seconds: float) -> None:
        self._store = store
        self._bookmark_seconds = bookmark_seconds
        self._open: set[Watcher] = set()

    def cut(self, resources: list[str]) -> int:
        """End the open watches of these resources, or all; returns how many."""
        found = [watcher for watcher in self._open if not resources or watcher.kind.plural in resources]
        for watcher in found:
            watcher.close()
        return len(found)

    async def serve(
        self, request: web.BaseRequest, kind: Kind, namespace: str, query: Mapping[str, str], form: Rendering
    ) -> web.StreamResponse:
        """Answer one watch request.

        Raises:
            ApiError: the query does not parse.
        """
        watcher = Watcher(self._store, kind, namespace, matcher(kind, query), form)
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        try:
            stop = watcher.begin(query)
        except ApiError as error:
            if error.code != 410:
                raise
            # Too old a version is told inside the stream: the request itself was fine.
            await response.prepare(request)
            await response.write(orjson.dumps({"type": "ERROR", "object": error.status()}) + b"\n")
            return response
        self._open.add(watcher)
        try:
            await response.prepare(request)
            asked = query.get("timeoutSeconds", "")
            seconds = float(asked) if asked.isdigit() and int(asked) else random.uniform(1800, 3600)
            bookmarks = query.get("allowWatchBookmarks") in {"true", "1"}
            await watcher.stream(response, seconds, self._bookmark_seconds if bookmarks else None)
        except (ConnectionError, asyncio.CancelledError):
            # The client has gone, or the server goes.
            pass
        finally:
            stop()
            self._open.discard(watcher)
        return response
