"""Faults at the API: which requests go wrong, and how."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.local.cluster.clock import Clock
from deploy.local.cluster.errors import ApiError
from deploy.local.cluster.scenario import Fault

_ANSWERS = {
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: etcdserver: leader changed"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "Timeout: request did not complete within the allotted timeout"),
}


@dataclass(slots=True)
class _Active:
    fault: Fault
    until: float | None
    left: int | None


class Faults:
    """The faults in force."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._active: list[_Active] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force; it takes the place of one with its name."""
        self.remove(fault.name)
        until = None if fault.seconds is None else self._clock.now() + fault.seconds
        self._active.append(_Active(fault, until, fault.times))

    def remove(self, name: str = "") -> None:
        """End the fault of that name, or all."""
        self._active = [active for active in self._active if name and active.fault.name != name]

    def listed(self) -> list[Fault]:
        """The faults in force."""
        self._forget()
        return [active.fault for active in self._active]

    def strike(self, user: str, verb: str, resource: str) -> Sequence[Fault]:
        """The faults that hit this request; each is used up once more."""
        if not self._active:
            return ()
        self._forget()
        struck = []
        for active in self._active:
            fault = active.fault
            wanted = ((fault.users, user), (fault.verbs, verb), (fault.resources, resource))
            if any(some and one not in some for some, one in wanted) or self._rng.random() >= fault.share:
                continue
            if active.left is not None:
                active.left -= 1
            struck.append(fault)
        return struck

    def _forget(self) -> None:
        now = self._clock.now()
        self._active = [
            active for active in self._active if (active.until is None or now < active.until) and active.left != 0
        ]


def answer(fault: Fault) -> ApiError | None:
    """The refusal a fault stands for, if it is one."""
    if fault.status is None:
        return None
    reason, message = _ANSWERS[fault.status]
    retry_after = fault.retry_after if fault.retry_after is not None else 1 if fault.status == 429 else None
    details = {"retryAfterSeconds": retry_after} if retry_after is not None else {}
    return ApiError(fault.status, reason, message, details, retry_after=retry_after)
