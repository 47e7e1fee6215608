"""Webhooks whose receivers may be away, or want no more; they remember what they were told."""

import json
from datetime import datetime

from ips_common.ports.webhook import Reply
from ips_common.webhook.memory import MemoryCourier


class Postman(MemoryCourier):
    """Calls receivers; `wrong` says what they would complain about."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.weary = False
        """Whether receivers answer that they want to hear no more."""
        self.told: set[str] = set()
        """Events that a receiver took."""
        self.unwanted: set[str] = set()
        """Events that a receiver did not want."""
        self.wrong: list[str] = []
        self._bodies: dict[str, tuple[str, bytes]] = {}

    def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
        """See `Courier.deliver`."""
        if self.away:
            return Reply(503, "the receiver answered 503")
        if self.weary:
            self.unwanted.add(event_id)
            return Reply(410, "the receiver answered 410")
        self._compare(event_id, body)
        self.told.add(event_id)
        return super().deliver(url, event_id, body, at)

    def _compare(self, event_id: str, body: bytes) -> None:
        event = json.loads(body)
        before = self._bodies.setdefault(event["subject"], (event_id, body))
        if before[0] != event_id or event["id"] != event_id:
            self.wrong.append(f"one end is told under two ids: {before[0]}, {event_id}, {event['id']}")
        elif before[1] != body:
            self.wrong.append(f"event {event_id} was told in two ways")
