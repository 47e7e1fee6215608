"""Whether the process has been told to end."""

import signal


def draining() -> bool:
    """Whether gunicorn has been told to end: it then waits for its requests, of which the longest would be the last.

    gunicorn's workers handle SIGTERM themselves and offer requests no other sign of it.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(worker, "alive", True) is False
