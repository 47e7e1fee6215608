"""The `batch` function: a batch message in, Jobs in the cluster out."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

import flask
import functions_framework

from functions.batch.handler import JobSettings, create_batch, leaving_to_tracker
from ips_common import push
from ips_common.bus.envelope import Delivery
from ips_common.cluster.door import Door
from ips_common.errors import MalformedMessage
from ips_common.models.message import BatchMessage
from ips_common.wiring.bus import bus
from ips_common.wiring.clusters import clusters
from ips_common.wiring.configuration import configure, start
from ips_common.wiring.store import store

SECONDS = 120
"""Time for one batch; well below the subscription's acknowledgement deadline."""


@cache
def _doors() -> Mapping[str, Door]:
    return {name: Door(name) for name in clusters().names()}


@cache
def _job_settings() -> JobSettings:
    settings = configure()
    return JobSettings(
        namespace=settings.namespace,
        worker_image=settings.worker_image,
        worker_pull_policy=settings.worker_image_pull_policy,
        ttl_seconds=settings.job_ttl_seconds,
        priority_class=settings.priority_class,
    )


def _handle(delivery: Delivery) -> None:
    message = delivery.message
    if not isinstance(message, BatchMessage):
        raise MalformedMessage(f"a {message.kind} message is none for this function")
    until = time.monotonic() + SECONDS
    with leaving_to_tracker(message, delivery.published, store=store(), clock=lambda: datetime.now(UTC)):
        create_batch(
            message,
            store=store(),
            bus=bus(),
            clusters=clusters(),
            settings=_job_settings(),
            seconds_left=lambda: until - time.monotonic(),
            enter=lambda name: _doors()[name].enter(),
        )


@functions_framework.http
def batch(request: flask.Request) -> push.Answer:
    """Create the Jobs of the batch that the pushed message names."""
    return push.receive(request, _handle, dead_letters=True)


start(__name__)
