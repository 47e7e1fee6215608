"""Webhooks in memory: a fake that records every call."""

from dataclasses import dataclass
from datetime import datetime

from ips_common.ports.webhook import Courier, Reply


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a webhook."""

    url: str
    event_id: str
    body: bytes
    at: datetime


class MemoryCourier(Courier):
    """A `Courier` for tests; answers with `replies` one after the other, then takes everything."""

    def __init__(self, *replies: Reply) -> None:
        self.calls: list[Call] = []
        self._replies = list(replies)

    def deliver(self, url: str, event_id: str, body: bytes, at: datetime) -> Reply:
        """See `Courier.deliver`."""
        self.calls.append(Call(url, event_id, body, at))
        return self._replies.pop(0) if self._replies else Reply(200)
