"""The `tracker` function: a kick or the scheduler's tick in, tracked clusters out."""

from datetime import UTC, datetime, timedelta
from functools import cache

import flask
import functions_framework

from functions.tracker.handler import bury, bury_notification, check_source, handle
from functions.tracker.ports import Pace, Ports
from functions.tracker.runner import Runner
from ips_common import push
from ips_common.bus.envelope import Delivery
from ips_common.draining import draining
from ips_common.models.message import BatchMessage, Kick, Notification, Tick
from ips_common.verdict import Patience
from ips_common.wiring.bus import bus
from ips_common.wiring.clusters import clusters
from ips_common.wiring.configuration import configure, start
from ips_common.wiring.store import store


def _now() -> datetime:
    return datetime.now(UTC)


@cache
def _runner() -> Runner:
    settings = configure()
    pace = Pace(
        reload=timedelta(seconds=settings.status_poll_interval),
        patience=Patience(pull=timedelta(seconds=settings.pull_grace_seconds)),
    )
    ports = Ports(store(), bus(), clusters(), _now)
    return Runner(ports, pace, settings.lease_seconds, draining)


def _handle(delivery: Delivery) -> None:
    message = delivery.message
    check_source(message, delivery.attributes, dead=delivery.dead)
    match message:
        case Kick() | Tick():
            track: Kick | Tick | None = message
        case BatchMessage():
            track = bury(message, delivery.attempts, store=store())
        case Notification():
            track = None
            bury_notification(message, delivery.attempts, store=store())
    if track:
        handle(track, runner=_runner(), clusters=clusters(), seconds=configure().tracker_seconds)


@functions_framework.http
def tracker(request: flask.Request) -> push.Answer:
    """Track what the pushed message names."""
    return push.receive(request, _handle)


start(__name__)
