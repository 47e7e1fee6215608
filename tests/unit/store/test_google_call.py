"""Repetition of calls to Google."""

import pytest
from google.api_core import exceptions as api

from ips_common.google_call import repeat


class Server:
    """Fails as told, then answers; `repeated` holds what it was told about each try."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.repeated: list[bool] = []

    def __call__(self, timeout: float, repeated: bool) -> str:  # noqa: FBT001 - the signature under test
        assert timeout > 0
        self.repeated.append(repeated)
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


@pytest.mark.parametrize(
    "failure",
    [api.ServiceUnavailable, api.DeadlineExceeded, api.Aborted, api.ResourceExhausted, api.InternalServerError],
)
def test_a_passing_failure_is_tried_again(failure: type[api.GoogleAPICallError]) -> None:
    server = Server(failure("x"), failure("y"))
    assert repeat(server, timeout=5) == "answer"
    assert server.repeated == [False, True, True]


@pytest.mark.parametrize("failure", [api.PermissionDenied, api.InvalidArgument, api.AlreadyExists, api.NotFound])
def test_a_lasting_failure_is_not(failure: type[api.GoogleAPICallError]) -> None:
    server = Server(failure("x"))
    with pytest.raises(failure):
        repeat(server, timeout=5)
    assert server.repeated == [False]


def test_the_last_failure_is_raised_when_the_time_is_up() -> None:
    away: type[api.GoogleAPICallError] = api.ServiceUnavailable
    server = Server(*(away(str(number)) for number in range(1000)))
    with pytest.raises(api.ServiceUnavailable):
        repeat(server, timeout=0.2)
    assert 1 < len(server.repeated) < 1000
