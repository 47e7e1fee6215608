"""The bus: Pub/Sub topics by what they mean."""

from collections.abc import Sequence
from typing import Protocol

from ips_common.models.message import Outgoing


class Bus(Protocol):
    """Pub/Sub topics by what they mean."""

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish all messages, each to its topic; returns when Pub/Sub has them.

        Raises:
            BusUnavailable: some may have been published.
        """
        ...

    def ready(self, timeout: float) -> None:
        """Return when Pub/Sub answers within `timeout` seconds, raise otherwise."""
        ...
