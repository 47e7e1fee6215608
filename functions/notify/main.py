"""The `notify` function: a notification in, a call of the task's webhook out."""

from datetime import UTC, datetime

import flask
import functions_framework

from functions.notify.handler import notify as deliver
from ips_common import push
from ips_common.bus.envelope import Delivery
from ips_common.errors import MalformedMessage
from ips_common.models.message import Notification
from ips_common.wiring.configuration import configure, start
from ips_common.wiring.store import store
from ips_common.wiring.webhook import courier


def _now() -> datetime:
    return datetime.now(UTC)


def _handle(delivery: Delivery) -> None:
    message = delivery.message
    if not isinstance(message, Notification):
        raise MalformedMessage(f"a {message.kind} message is none for this function")
    source = f"/projects/{configure().project}/ips"
    deliver(message, store=store(), courier=courier(), source=source, clock=_now)


@functions_framework.http
def notify(request: flask.Request) -> push.Answer:
    """Call the webhook that the pushed message is for."""
    return push.receive(request, _handle, dead_letters=True)


start(__name__)
