"""The bus in memory: a fake that records what is published, held to the port by the contract tests."""

import threading
from collections.abc import Sequence

from ips_common.errors import BusUnavailable
from ips_common.models.message import BatchMessage, Kick, Notification, Outgoing
from ips_common.ports.bus import Bus


class MemoryBus(Bus):
    """A `Bus` for tests; `published` holds every message in order.

    `down = True` makes every call raise `BusUnavailable`; `fail_after(n)` lets n more messages through first, as an
    outage in the middle of a publish does.
    """

    def __init__(self) -> None:
        self.published: list[Outgoing] = []
        self.down = False
        self._left: int | None = None
        self._lock = threading.Lock()

    def fail_after(self, messages: int | None) -> None:
        """Take this many more messages, then be away; None: be there again."""
        with self._lock:
            self._left = messages

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """See `Bus.publish`."""
        with self._lock:
            for message in messages:
                if self.down or self._left == 0:
                    raise BusUnavailable("the bus is down")
                if self._left is not None:
                    self._left -= 1
                self.published.append(message)

    def take(self) -> list[BatchMessage | Kick]:
        """Remove and return what the subscribers that pull and track would see."""
        with self._lock:
            taken = [message for message in self.published if not isinstance(message, Notification)]
            self.published = [message for message in self.published if isinstance(message, Notification)]
            return taken

    def take_notifications(self) -> list[Notification]:
        """Remove and return what the subscriber that calls webhooks would see."""
        with self._lock:
            taken = [message for message in self.published if isinstance(message, Notification)]
            self.published = [message for message in self.published if not isinstance(message, Notification)]
            return taken

    def ready(self, timeout: float) -> None:
        """See `Bus.ready`."""
        del timeout
        if self.down or self._left == 0:
            raise BusUnavailable("the bus is down")
