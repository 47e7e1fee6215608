"""Event objects, as controllers, the scheduler and kubelets write them.

There are tens of thousands, so each is kept as a handful of references and becomes an object only when read.
"""

from collections import deque
from typing import Any

from deploy.local.cluster.clock import Clock, micro_stamp, stamp
from deploy.local.cluster.kinds import EVENTS, Kind
from deploy.local.cluster.registry import Registry
from deploy.local.cluster.store import Item, Key

# The real server keeps Events for an hour; here the oldest also go when there are this many.
EVENT_SECONDS = 3600.0
MOST_EVENTS = 100_000


class EventItem(Item):
    """An Event that is rendered when somebody reads it."""

    __slots__ = ("component", "count", "first", "host", "involved", "last", "message", "reason", "type", "uid")

    def __init__(self, key: Key, version: int, uid: str) -> None:
        super().__init__(key, version, {})
        self.uid = uid
        self.involved: tuple[Kind, dict[str, Any], str] = (EVENTS, {}, "")
        self.type = self.reason = self.message = self.component = self.host = ""
        self.first = self.last = 0.0
        self.count = 1

    @property
    def obj(self) -> dict[str, Any]:
        """The Event as an API object."""
        scheduling = self.component == "default-scheduler"
        source: dict[str, str] = {} if scheduling else {"component": self.component}
        if self.host and not scheduling:
            source["host"] = self.host
        body: dict[str, Any] = {
            "metadata": {
                "name": self.key[1],
                "namespace": self.key[0],
                "uid": self.uid,
                "resourceVersion": str(self.version),
                "creationTimestamp": stamp(self.first),
            },
            "involvedObject": _reference(*self.involved),
            "reason": self.reason,
            "message": self.message,
            "source": source,
            "firstTimestamp": None if scheduling else stamp(self.first),
            "lastTimestamp": None if scheduling else stamp(self.last),
            "count": self.count,
            "type": self.type,
            "eventTime": micro_stamp(self.first) if scheduling else None,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        }
        if scheduling:
            del body["count"]
            body["action"] = "Binding" if self.reason == "Scheduled" else "Scheduling"
        return body

    @obj.setter
    def obj(self, _value: dict[str, Any]) -> None:
        """An Event is made of its parts; the store hands it an object it has no use for."""


def _reference(kind: Kind, meta: dict[str, Any], path: str) -> dict[str, Any]:
    reference = {
        "kind": kind.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "apiVersion": kind.api_version,
        "resourceVersion": meta["resourceVersion"],
    }
    if "namespace" in meta:
        reference["namespace"] = meta["namespace"]
    if path:
        reference["fieldPath"] = path
    return reference


class EventRecorder:
    """Writes Events; one that repeats an earlier one raises its count."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._known: dict[tuple[str, str, str, str], EventItem] = {}
        self._order: deque[tuple[str, str, str, str]] = deque()

    def record(
        self,
        kind: Kind,
        obj: dict[str, Any],
        reason: str,
        message: str,
        *,
        component: str,
        warning: bool = False,
        host: str = "",
        path: str = "",
    ) -> None:
        """Say something about an object; `path` names a part of it, such as one container."""
        meta = obj["metadata"]
        now = self._clock.now()
        same = (meta["uid"], reason, message, path)
        store = self._registry.store
        known = self._known.get(same)
        if known is not None and store.get(EVENTS, known.key) is not known:
            known = None
        version = store.next_version()
        key = (meta.get("namespace", "default"), f"{meta['name']}.{int(now * 1e9) + version % 1000:x}")
        event = EventItem(known.key if known else key, version, known.uid if known else self._registry.new_uid())
        event.involved = (kind, meta, path)
        event.type = "Warning" if warning else "Normal"
        event.reason, event.message, event.component, event.host = reason, message, component, host
        event.first, event.last = (known.first if known else now), now
        event.count = known.count + 1 if known else 1
        store.put_item(EVENTS, event)
        self._known[same] = event
        if known is None:
            self._order.append(same)
            self._expire(now)

    def _expire(self, now: float) -> None:
        while self._order:
            event = self._known.get(self._order[0])
            if event is not None and len(self._order) <= MOST_EVENTS and now - event.last < EVENT_SECONDS:
                return
            self._known.pop(self._order.popleft(), None)
            if event is not None and self._registry.store.get(EVENTS, event.key) is event:
                self._registry.store.remove(EVENTS, event.key)
