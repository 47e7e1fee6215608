"""From a release event to tasks.

An event makes each of its tasks once: a task's key follows from the rule and the image, so whatever is delivered again,
or was left half done by a function that died, finds the tasks that are there and makes those that are not.
"""

import logging
import re
from collections.abc import Sequence

from functions.release.deps import Deps
from ips_common.accept import Accepted, accept, objections
from ips_common.bus.envelope import RawDelivery
from ips_common.errors import Conflict, FieldError, MalformedMessage, TemporaryError
from ips_common.models.release import Ignored, NamedRelease, Release, TaskRequest, parse_event, release_of
from ips_common.models.task import Task
from ips_common.rules import Order, order, orders

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def handle(delivery: RawDelivery, deps: Deps) -> Sequence[Task]:
    """Make the tasks of an event; returns them, new or not.

    Raises:
        MalformedMessage: the event can never be handled; says what is wrong with it.
        ReleaseNotFound: the event is about a release of Cloud Deploy that does not exist.
        TemporaryError: not all of it could be done now; deliver the event again.
    """
    event = parse_event(
        delivery.topic, delivery.data, delivery.attributes, f"{delivery.message_id} {delivery.published}"
    )
    match event:
        case Ignored():
            logger.info("release event means no image", extra={"reason": event.reason})
            return ()
        case TaskRequest():
            return _asked_for(event, delivery, deps)
        case NamedRelease():
            return _released(release_of(event.name, deps.releases.images(event.name)), delivery, deps)
        case Release():
            return _released(event, delivery, deps)


def _asked_for(request: TaskRequest, delivery: RawDelivery, deps: Deps) -> Sequence[Task]:
    wanted = order(request)
    if refused := _objections(wanted, deps):
        raise MalformedMessage("; ".join(f"{error.field}: {error.message}" for error in refused))
    try:
        return (_accept(wanted, delivery, deps).task,)
    except Conflict as error:
        raise MalformedMessage(f"attribute idempotencyKey: was used with another request ({error})") from error


def _released(release: Release, delivery: RawDelivery, deps: Deps) -> Sequence[Task]:
    wanted = orders(deps.rules, release)
    if not wanted:
        logger.info(
            "no rule matches the release",
            extra={"release": release.event_id, "images": [image.reference for image in release.images][:10]},
        )
    tasks: list[Task] = []
    postponed: list[TemporaryError] = []
    for each in wanted:
        if refused := _objections(each, deps):
            # The rule is at odds with what may be done here, and no other delivery changes that.
            told = "; ".join(f"{error.field}: {error.message}" for error in refused)
            logger.error("rule makes no task", extra={"rule": each.created_by, "error": told})
            continue
        try:
            tasks.append(_accept(each, delivery, deps).task)
        except TemporaryError as error:
            # What is in the way of one cluster's task is not in the way of another's.
            postponed.append(error)
    if postponed:
        raise postponed[0]
    return tasks


def _objections(wanted: Order, deps: Deps) -> tuple[FieldError, ...]:
    return objections(
        wanted.spec,
        clusters=deps.clusters,
        allowed_images=deps.allowed_images,
        check_url=deps.webhook_rules.check,
    )


def _accept(wanted: Order, delivery: RawDelivery, deps: Deps) -> Accepted:
    accepted = accept(
        wanted.spec,
        wanted.key,
        created_by=wanted.created_by,
        request_id=_request_id(delivery),
        store=deps.store,
        bus=deps.bus,
        clusters=deps.clusters,
        max_pending_tasks=deps.max_pending_tasks,
        clock=deps.now,
        random_hex=deps.random_hex,
    )
    fields = {
        "taskId": accepted.task.task_id,
        "cluster": accepted.task.spec.cluster,
        "requestId": accepted.task.request_id,
        "caller": wanted.created_by,
        "images": len(wanted.spec.images),
    }
    if accepted.new:
        logger.info("audit", extra={"action": "createTask", "decision": "allowed", **fields})
    else:
        logger.info("task was made before", extra=fields)
    return accepted


def _request_id(delivery: RawDelivery) -> str | None:
    given = (delivery.attributes.get("requestId", ""), delivery.message_id)
    return next((text for text in given if _REQUEST_ID.fullmatch(text)), None)
