"""A Pub/Sub push as an HTTP request: what comes in, and which answer means what.

Functions take pushes over plain HTTP rather than as CloudEvents: functions-framework refuses messages without data
before any code of ours could see them, and offers no choice of status. A 2xx answer acknowledges, anything else has the
message delivered again with the subscription's back-off.
"""

import logging
import time
from collections.abc import Callable

import flask

from ips_common import logs
from ips_common.bus.envelope import Delivery, parse_push
from ips_common.errors import MalformedMessage, PermanentError, TemporaryError

logger = logging.getLogger(__name__)

ACKNOWLEDGED = ("", 204)

Answer = tuple[str, int] | tuple[str, int, dict[str, str]]


def receive(request: flask.Request, handle: Callable[[Delivery], None]) -> Answer:
    """Handle one push and say whether Pub/Sub is to deliver it again."""
    if request.method == "GET":
        return "ok\n", 200  # a start-up or liveness probe
    if request.method != "POST":
        return "", 405, {"Allow": "GET, POST"}
    try:
        delivery = parse_push(request.get_data())
    except MalformedMessage as error:
        logger.error("message cannot be read and is dropped", extra={"error": str(error)})  # noqa: TRY400 - no bug of ours
        return ACKNOWLEDGED
    began = time.monotonic()
    with logs.bind(messageId=delivery.message_id, **delivery.log_fields):
        try:
            handle(delivery)
        except TemporaryError as error:
            logger.warning("message will be delivered again", extra={"error": str(error)})
            return "", 503, {"Retry-After": f"{error.retry_after:.0f}"}
        except PermanentError as error:
            logger.error("message cannot be handled and is dropped", extra={"error": str(error)})  # noqa: TRY400 - same
            return ACKNOWLEDGED
        except Exception:
            logger.exception("message will be delivered again")
            return "", 500
        logger.debug("message handled", extra={"seconds": round(time.monotonic() - began, 3)})
    return ACKNOWLEDGED
