"""A Pub/Sub push as an HTTP request: what comes in, and which answer means what.

Functions take pushes over plain HTTP rather than as CloudEvents: functions-framework refuses messages without data
before any code of ours could see them, and offers no choice of status. A 2xx answer acknowledges, anything else has the
message delivered again with the subscription's back-off.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol, TypeVar

import flask

from ips_common import logs
from ips_common.bus.envelope import Delivery, RawDelivery, parse_push, parse_raw
from ips_common.errors import MalformedMessage, PermanentError, TemporaryError

logger = logging.getLogger(__name__)

Answer = tuple[str, int] | tuple[str, int, dict[str, str]]

ACKNOWLEDGED: Answer = ("", 204)
NOT_UNDERSTOOD: Answer = ("", 400)


class Received(Protocol):
    """One delivery, of whatever kind."""

    @property
    def message_id(self) -> str:
        """The message's id."""
        ...

    @property
    def log_fields(self) -> Mapping[str, Any]:
        """What every log entry about the delivery should say."""
        ...


D = TypeVar("D", bound=Received)


def receive(request: flask.Request, handle: Callable[[Delivery], None], *, dead_letters: bool = False) -> Answer:
    """Handle one push of a message of our own and say whether Pub/Sub is to deliver it again.

    Args:
        request: the push.
        handle: what to do with its message.
        dead_letters: whether the subscription has a dead-letter topic. What can never be handled is then left to it,
            where it can be looked at; on any other subscription it is dropped, or it would come back for ever.
    """
    hopeless = NOT_UNDERSTOOD if dead_letters else ACKNOWLEDGED
    return _receive(request, lambda: parse_push(request.get_data()), handle, malformed=hopeless, refused=hopeless)


def receive_foreign(request: flask.Request, handle: Callable[[RawDelivery], None]) -> Answer:
    """Handle one push of a message that others published.

    What cannot be read is not acknowledged, so that it comes to lie in the subscription's dead-letter topic, where its
    publisher's mistake can be looked at.
    """
    source = request.headers.get("ce-source", "")
    return _receive(
        request,
        lambda: parse_raw(request.get_data(), request.path, source),
        handle,
        malformed=NOT_UNDERSTOOD,
        refused=ACKNOWLEDGED,
    )


def _receive(
    request: flask.Request, parse: Callable[[], D], handle: Callable[[D], None], *, malformed: Answer, refused: Answer
) -> Answer:
    if request.method == "GET":
        return "ok\n", 200  # a start-up or liveness probe
    if request.method != "POST":
        return "", 405, {"Allow": "GET, POST"}
    began = time.monotonic()
    with ExitStack() as logging_of:
        logging_of.enter_context(logs.bind(**logs.trace_of(request.headers)))
        try:
            delivery = parse()
            logging_of.enter_context(logs.bind(messageId=delivery.message_id, **delivery.log_fields))
            handle(delivery)
        except TemporaryError as error:
            logger.warning("message will be delivered again", extra={"error": str(error)})
            return "", 503, {"Retry-After": f"{error.retry_after:.0f}"}
        except MalformedMessage as error:
            return _hopeless("read", error, malformed)
        except PermanentError as error:
            return _hopeless("handled", error, refused)
        except Exception:
            logger.exception("message will be delivered again")
            return "", 500
        logger.debug("message handled", extra={"seconds": round(time.monotonic() - began, 3)})
    return ACKNOWLEDGED


def _hopeless(what: str, error: PermanentError, answer: Answer) -> Answer:
    fate = "is dropped" if answer == ACKNOWLEDGED else "is left to the dead letters"
    logger.error(f"message cannot be {what} and {fate}", extra={"error": str(error)})  # noqa: G004 - one of four sentences
    return answer
