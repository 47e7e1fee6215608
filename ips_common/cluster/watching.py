"""Watching Jobs and pods as API servers offer it: a list, then changes from its version on, again and again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import uniform
from typing import Any

import orjson

from ips_common.cluster.pages import pages
from ips_common.cluster.status import Call, Expired
from ips_common.cluster.transport import Transport
from ips_common.errors import ClusterRefused, ClusterUnavailable, IPSError
from ips_common.observe import SELECTOR, Gone, Key, Observation, observe
from ips_common.ports.cluster import Lost, Synced, WatchEvent


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a watch asks again, in seconds.

    Args:
        list: for a whole list to arrive.
        open: for a server that fails to come to itself, before the watch counts as lost.
        stream: a watch's length; shorter than what proxies allow a connection.
        slack: after the end of a stream, before a silent connection counts as dead.
        poll: between lists where watching is not allowed.
        pause: after a stream that broke off at once; also the first delay after a loss.
        longest_pause: between attempts while the API server is away.
    """

    list: float = 60
    open: float = 3
    stream: float = 60
    slack: float = 5
    poll: float = 5
    pause: float = 0.2
    longest_pause: float = 5


class Watcher:
    """Observes the Jobs and pods of one namespace and hands on what it sees; runs on the background loop."""

    def __init__(
        self,
        transport: Transport,
        namespace: str,
        tell: Callable[[Sequence[WatchEvent]], None],
        rhythm: Rhythm,
    ) -> None:
        self._transport = transport
        self._tell = tell
        self._rhythm = rhythm
        self._paths = {
            "Job": ("jobs", f"/apis/batch/v1/namespaces/{namespace}/jobs"),
            "Pod": ("pods", f"/api/v1/namespaces/{namespace}/pods"),
        }
        self._namespace = namespace
        self._known: dict[tuple[str, str], Key] = {}
        self._lost = False

    async def run(self) -> None:
        """Watch until cancelled, beginning anew after every loss."""
        failures = 0
        while True:
            try:
                await self._session()
            except* IPSError as group:
                error = _first(group)
                failures = failures + 1 if self._lost else 0
                self._lose(str(error))
                expired = isinstance(error, Expired) and failures == 0
                pause = 0.0 if expired else self._pause(failures)
            await asyncio.sleep(pause)

    async def _session(self) -> None:
        """List everything, then follow both kinds until either is lost."""
        versions = {}
        seen: dict[tuple[str, str], Key] = {}
        # Jobs first: then the pod of a Job that is seen finished is seen in its last state.
        for kind in self._paths:
            versions[kind] = await self._list(kind, seen)
        gone = [Gone(kind, key, name) for (kind, name), key in self._known.items() if (kind, name) not in seen]
        self._known = seen
        self._lost = False
        self._tell([*gone, Synced()])
        async with asyncio.TaskGroup() as group:
            for kind, version in versions.items():
                group.create_task(self._follow(kind, version))

    async def _list(self, kind: str, seen: dict[tuple[str, str], Key]) -> str:
        """Tell all objects of a kind; returns the version they are of."""
        deadline = asyncio.get_running_loop().time() + self._rhythm.list
        version = ""
        query = {"labelSelector": SELECTOR}
        call = self._call("list", kind)
        async for page in pages(self._transport, call, deadline, query, patience=self._rhythm.open):
            found = [seen_now for item in page.items if (seen_now := observe(kind, "ADDED", item))]
            keys = {(kind, each.name): each.key for each in found}
            seen.update(keys)
            self._known.update(keys)  # a list that breaks off has told these all the same
            self._tell(found)
            version = page.version
        return version

    async def _follow(self, kind: str, version: str) -> None:
        """Follow the changes of a kind, one stream after another; each goes on where the last one ended."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                version = await self._stream(kind, version)
            except ClusterRefused:
                # Not to be allowed to watch need not mean not to be allowed to list.
                await asyncio.sleep(self._rhythm.poll)
                version = await self._poll(kind)
                continue
            if loop.time() - began < self._rhythm.pause:
                await asyncio.sleep(self._rhythm.pause * uniform(0.5, 1))  # noqa: S311 - nothing secret about it

    async def _stream(self, kind: str, version: str) -> str:
        """Tell changes from a version on until the connection ends; returns the version to go on from.

        Raises:
            Expired: the server does not keep so old a version any more.
            ClusterUnavailable: the server could not be reached.
            ClusterRefused: watching is not allowed.
        """
        seconds = self._rhythm.stream
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": SELECTOR,
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        deadline = asyncio.get_running_loop().time() + self._rhythm.open
        silence = seconds + self._rhythm.slack
        call = self._call("watch", kind)
        async with self._transport.stream(call, deadline, params=params, silence=silence) as chunks:
            async for events in _events(chunks):
                version = self._tell_changes(kind, events, version)
        return version

    def _tell_changes(self, kind: str, events: Iterable[Mapping[str, Any]], version: str) -> str:
        told: list[Observation] = []
        try:
            for event in events:
                if event["type"] == "ERROR":
                    raise self._error(kind, event["object"])
                obj = event["object"]
                version = obj["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                seen = observe(kind, event["type"], obj)
                if seen:
                    self._remember(kind, seen)
                    told.append(seen)
        finally:
            self._tell(told)
        return version

    async def _poll(self, kind: str) -> str:
        """List a kind again where it cannot be watched; what is not there any more is gone."""
        seen: dict[tuple[str, str], Key] = {}
        version = await self._list(kind, seen)
        gone = [key for key in self._known if key[0] == kind and key not in seen]
        self._tell([Gone(kind, self._known[kind, name], name) for _, name in gone])
        self._known = {key: value for key, value in self._known.items() if key[0] != kind} | seen
        return version

    def _remember(self, kind: str, seen: Observation) -> None:
        if isinstance(seen, Gone):
            self._known.pop((kind, seen.name), None)
        else:
            self._known[kind, seen.name] = seen.key

    def _error(self, kind: str, status: Mapping[str, Any]) -> ClusterUnavailable:
        words = f"cluster {self._transport.cluster}: {self._call('watch', kind)}: {status.get('message')}"
        return Expired(words, retry_after=0) if status.get("code") == 410 else ClusterUnavailable(words)

    def _lose(self, message: str) -> None:
        if not self._lost:
            self._lost = True
            self._tell([Lost(message)])

    def _pause(self, failures: int) -> float:
        longest = min(self._rhythm.longest_pause, self._rhythm.pause * 2.0 ** min(failures, 20))
        return longest * uniform(0.5, 1)  # noqa: S311 - nothing secret about it

    def _call(self, verb: str, kind: str) -> Call:
        resource, path = self._paths[kind]
        return Call(verb, f"{resource} in namespace {self._namespace}", path)


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Any]]:
    """Parse lines of JSON as they come; a line that is cut off is left out, the next stream brings it again."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield [orjson.loads(line) for line in lines if line]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
