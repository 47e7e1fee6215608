"""The whole product in memory with the function that calls webhooks."""

from datetime import datetime

from functions.notify.handler import notify
from ips_common.errors import TemporaryError
from ips_common.models.message import Notification
from ips_common.models.task import Task
from ips_common.models.webhook import Webhook
from ips_common.webhook.memory import MemoryCourier
from tests.unit.world import World

URL = "https://hooks.example/ips?token=secret-token"
SOURCE = "/projects/p/ips"


class TellingWorld(World):
    """A world whose tasks have webhooks; a notification that could not be delivered comes again after a second."""

    def __init__(self, nodes: int = 3, *, courier: MemoryCourier | None = None, lose: int = 0, **more: bool) -> None:
        super().__init__(nodes, **more)
        self.courier = courier or MemoryCourier()
        self.lose = lose
        """How many notifications get lost."""
        self.told_at: list[datetime] = []

    def webhook(self, task: Task) -> Webhook:
        webhook = self.task(task.task_id).webhook
        assert webhook is not None
        return webhook

    def hand_over(self, message: Notification) -> None:
        """Deliver a notification, again and again if need be."""
        self.told_at.append(self.now)
        try:
            notify(message, store=self.store, courier=self.courier, source=SOURCE, clock=lambda: self.now)
        except TemporaryError:
            self.at(1, lambda: self.hand_over(message))

    def _deliver(self) -> bool:
        notices = self.bus.take_notifications()
        delivered = super()._deliver()
        for notice in notices:
            if self.lose:
                self.lose -= 1
            else:
                self.hand_over(notice)
        return delivered or bool(notices)
