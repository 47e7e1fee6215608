"""The `api` function: HTTPS in, a task in the store and batches on the bus out."""

from functools import cache

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from functions.api.access import authenticator
from functions.api.app import create_app
from functions.api.bounded import BoundedClusters
from functions.api.deps import Deps
from ips_common.models.image_rule import AllowedImages
from ips_common.webhook.address import AddressRules
from ips_common.wiring.bus import bus
from ips_common.wiring.clusters import clusters
from ips_common.wiring.configuration import configure, start
from ips_common.wiring.store import store


@cache
def _app() -> flask.Flask:
    settings = configure()
    return create_app(
        Deps(
            store=store(),
            bus=bus(),
            clusters=BoundedClusters(clusters()),
            max_pending_tasks=settings.max_pending_tasks,
            gate_max_waiters=max(1, settings.threads // 2),
            authenticate=authenticator(settings),
            allowed_images=AllowedImages(settings.allowed_images),
            webhook_rules=AddressRules(settings.webhook_allowed_hosts, settings.webhook_allowed_networks),
        )
    )


@functions_framework.http
def api(request: flask.Request) -> ResponseReturnValue:
    """Answer one request with the application."""
    app = _app()
    # The same environment, not a copy, so that the framework sees which part of the body is read already.
    with app.request_context(request.environ):
        return app.full_dispatch_request()


start(__name__)
