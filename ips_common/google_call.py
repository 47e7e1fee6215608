"""Calls to Google Cloud APIs, repeated within a bound of time.

The clients' own defaults go on for one to ten minutes, longer than any caller of ours waits, and repeat a write without
telling.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type

T = TypeVar("T")

ONCE = Retry(predicate=if_exception_type())
"""For a client's `retry` argument: no repetition of its own."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Left alone, a channel that lost its server waits up to two minutes before it looks again, and every call fails
    # until then.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

_TRY_TIMEOUT = 3.0
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0

_TRANSIENT = (
    api.ServiceUnavailable,
    api.DeadlineExceeded,
    api.ResourceExhausted,
    api.Aborted,
    api.InternalServerError,
    api.Unknown,
    api.Cancelled,
)


def repeat(send: Callable[[float, bool], T], *, timeout: float) -> T:
    """Send until it succeeds, fails for good or `timeout` seconds are up.

    `send` gets the seconds it may take and whether an earlier try may have had its effect already.

    Raises:
        GoogleAPICallError: the last answer.
        GoogleAuthError: no credentials could be had.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    repeated = False
    while True:
        left = deadline - time.monotonic()
        try:
            return send(max(0.05, min(left, _TRY_TIMEOUT)), repeated)
        except _TRANSIENT:
            wait = pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
            if time.monotonic() + wait >= deadline:
                raise
        time.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE)
        repeated = True
