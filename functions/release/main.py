"""The `release` function: a release event in, tasks out."""

from functools import cache

import flask
import functions_framework

from functions.release.deps import Deps
from functions.release.handler import handle
from ips_common import push
from ips_common.bus.envelope import RawDelivery
from ips_common.models.image_rule import AllowedImages
from ips_common.webhook.address import AddressRules
from ips_common.wiring.bus import bus
from ips_common.wiring.clusters import clusters
from ips_common.wiring.configuration import configure, start
from ips_common.wiring.releases import releases
from ips_common.wiring.store import store


@cache
def _deps() -> Deps:
    settings = configure()
    return Deps(
        store=store(),
        bus=bus(),
        clusters=clusters(),
        releases=releases(),
        rules=settings.release_rules,
        max_pending_tasks=settings.max_pending_tasks,
        allowed_images=AllowedImages(settings.allowed_images),
        webhook_rules=AddressRules(settings.webhook_allowed_hosts, settings.webhook_allowed_networks),
    )


def _handle(delivery: RawDelivery) -> None:
    handle(delivery, _deps())


@functions_framework.http
def release(request: flask.Request) -> push.Answer:
    """Make the tasks of the pushed event."""
    return push.receive_foreign(request, _handle)


start(__name__)
