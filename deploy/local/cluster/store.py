"""Objects and their history: what etcd and the watch cache are to a real API server.

Objects are dicts that nobody changes once they are stored: a writer stores a new dict that shares every part it left
alone. JSON is made once per version, when somebody first reads it, and shared by every get, list and watch.
"""

import bisect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from deploy.local.cluster import errors
from deploy.local.cluster.kinds import EVENTS, STORED, Kind
from deploy.local.cluster.selectors import Matcher

Key = tuple[str, str]

# Versions start here so that small numbers are "too old to serve", as on a cluster that has lived for a while.
FIRST_VERSION = 1000
# Enough for a watcher to come back after minutes of ordinary work; what is older answers 410.
HISTORY = 8192


class Item:
    """One version of one object."""

    __slots__ = ("_json", "key", "obj", "version")

    def __init__(self, key: Key, version: int, obj: dict[str, Any]) -> None:
        self.key = key
        self.version = version
        self.obj = obj
        self._json: bytes | None = None

    def json(self) -> bytes:
        """The object as JSON, without kind and apiVersion: as an item of a list."""
        if self._json is None:
            self._json = orjson.dumps(self.obj)
        return self._json

    def forget_json(self) -> None:
        """A superseded version is rarely read again."""
        self._json = None


class Change:
    """One entry of the history."""

    __slots__ = ("item", "kind", "previous", "type", "version")

    def __init__(self, kind: Kind, change: str, item: Item, previous: Item | None) -> None:
        self.kind = kind
        self.type = change
        self.item = item
        self.previous = previous
        self.version = item.version

    def seen_by(self, matches: Matcher | None) -> str | None:
        """What a watcher with that selector sees: objects that enter or leave it are added or deleted."""
        if matches is None:
            return self.type
        now = self.type != "DELETED" and matches(self.item.obj)
        before = self.previous is not None and matches(self.previous.obj)
        if now:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


Listener = Callable[[Change], None]


class Table:
    """All objects of one kind."""

    __slots__ = ("history", "items", "keys", "listeners", "sizes", "trimmed")

    def __init__(self) -> None:
        self.sizes: Counter[str] = Counter()
        self.items: dict[Key, Item] = {}
        self.keys: list[Key] = []
        self.history: deque[Change] = deque()
        self.trimmed = FIRST_VERSION
        self.listeners: list[Listener] = []


class Store:
    """Every object, the version counter and who is told of changes."""

    def __init__(self) -> None:
        self.version = FIRST_VERSION
        self._tables = {kind.qualified: Table() for kind in STORED}
        self._owned: dict[str, set[tuple[Kind, Key]]] = {}

    def get(self, kind: Kind, key: Key) -> Item | None:
        """The current version, if the object exists."""
        return self._tables[kind.qualified].items.get(key)

    def need(self, kind: Kind, key: Key) -> Item:
        """The current version.

        Raises:
            ApiError: there is no such object.
        """
        item = self.get(kind, key)
        if item is None:
            raise errors.not_found(kind, key[1])
        return item

    def count(self, kind: Kind, namespace: str | None = None) -> int:
        """How many objects of the kind there are, everywhere or in one namespace."""
        table = self._tables[kind.qualified]
        return len(table.items) if namespace is None else table.sizes[namespace]

    def scan(self, kind: Kind, namespace: str = "", start: Key | None = None) -> Iterator[Item]:
        """Objects in key order, from `start` on; an empty namespace means all."""
        table = self._tables[kind.qualified]
        keys = table.keys
        at = bisect.bisect_left(keys, start if start is not None else (namespace, ""))
        for key in keys[at:]:
            if namespace and key[0] != namespace:
                return
            yield table.items[key]

    def scan_at(self, kind: Kind, version: int, namespace: str, start: Key | None) -> Iterable[Item]:
        """Objects as they were at a version, so that the pages of one list fit together.

        Raises:
            ApiError: history no longer reaches that far back.
        """
        if version == self.version:
            return self.scan(kind, namespace, start)
        table = self._tables[kind.qualified]
        if version < table.trimmed:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        then: dict[Key, Item | None] = {}
        for change in reversed(table.history):
            if change.version <= version:
                break
            then[change.item.key] = change.previous
        found = {item.key: item for item in self.scan(kind, namespace, start) if item.key not in then}
        found |= {key: item for key, item in then.items() if item and (not start or key >= start)}
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def put(self, kind: Kind, key: Key, obj: dict[str, Any]) -> Item:
        """Store a new version of an object, existing or not; the version is written into its metadata."""
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        return self.put_item(kind, Item(key, self.version, obj))

    def put_item(self, kind: Kind, item: Item) -> Item:
        """Store a version made elsewhere, whose number came from `next_version`."""
        table = self._tables[kind.qualified]
        previous = table.items.get(item.key)
        table.items[item.key] = item
        if previous is None:
            bisect.insort(table.keys, item.key)
            table.sizes[item.key[0]] += 1
        self._note(table, Change(kind, "ADDED" if previous is None else "MODIFIED", item, previous))
        return item

    def next_version(self) -> int:
        """Take a version number."""
        self.version += 1
        return self.version

    def remove(self, kind: Kind, key: Key) -> Item | None:
        """Delete an object; watchers see its last state under a version of its own."""
        table = self._tables[kind.qualified]
        previous = table.items.pop(key, None)
        if previous is None:
            return None
        del table.keys[bisect.bisect_left(table.keys, key)]
        table.sizes[key[0]] -= 1
        self.version += 1
        meta = {**previous.obj["metadata"], "resourceVersion": str(self.version)}
        item = Item(key, self.version, {**previous.obj, "metadata": meta})
        self._note(table, Change(kind, "DELETED", item, previous))
        return item

    def since(self, kind: Kind, version: int) -> list[Change]:
        """The changes after a version.

        Raises:
            ApiError: history no longer reaches that far back.
        """
        table = self._tables[kind.qualified]
        if version < table.trimmed:
            raise errors.expired(f"too old resource version: {version} ({table.trimmed})")
        found: list[Change] = []
        for change in reversed(table.history):
            if change.version <= version:
                break
            found.append(change)
        found.reverse()
        return found

    def listen(self, kind: Kind, listener: Listener) -> Callable[[], None]:
        """Be told of every change of a kind, in order, while it happens; returns how to stop."""
        listeners = self._tables[kind.qualified].listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def owned_by(self, uid: str) -> list[tuple[Kind, Item]]:
        """The objects that name `uid` among their owners."""
        refs = self._owned.get(uid, ())
        return [(kind, self._tables[kind.qualified].items[key]) for kind, key in refs]

    def _note(self, table: Table, change: Change) -> None:
        if change.previous is not None:
            change.previous.forget_json()
        if change.kind is not EVENTS:
            self._index_owners(change)
        table.history.append(change)
        if len(table.history) > HISTORY:
            table.trimmed = table.history.popleft().version
        for listener in tuple(table.listeners):
            listener(change)

    def _index_owners(self, change: Change) -> None:
        before = change.previous.obj["metadata"].get("ownerReferences") if change.previous else None
        after = change.item.obj["metadata"].get("ownerReferences") if change.type != "DELETED" else None
        if before is after:
            return
        entry = (change.kind, change.item.key)
        for owner in before or ():
            owned = self._owned.get(owner["uid"])
            if owned is not None:
                owned.discard(entry)
                if not owned:
                    del self._owned[owner["uid"]]
        for owner in after or ():
            self._owned.setdefault(owner["uid"], set()).add(entry)
