"""Asking a source of credentials without waiting for it on the loop, and without trusting it to answer."""

import asyncio
from contextlib import suppress
from threading import Thread

from ips_common.cluster.credentials import Access, Credentials

_GIVEN_UP_AFTER = 120.0


class Inquiry:
    """Asks one source, in a thread of its own and once at a time.

    A source may hang: a program waits for a person, a metadata server does not answer. That must neither take threads
    that other clusters need, nor start the program again and again, nor keep the process from ending.
    """

    def __init__(self, cluster: str, credentials: Credentials, *, given_up_after: float = _GIVEN_UP_AFTER) -> None:
        """Make an inquiry.

        Args:
            cluster: whose credentials these are.
            credentials: the source.
            given_up_after: seconds after which a source that has not answered is asked anew, whatever it still does.
        """
        self._cluster = cluster
        self._credentials = credentials
        self._given_up_after = given_up_after
        self._asked_at = 0.0
        self._answer: asyncio.Future[Access] | None = None

    async def access(self, *, anew: bool) -> Access:
        """Return what the source says; whoever stops waiting leaves the answer to the next who asks.

        Raises:
            ClusterUnavailable: it has nothing to say now.
        """
        now = asyncio.get_running_loop().time()
        if self._answer is None or (not self._answer.done() and now - self._asked_at > self._given_up_after):
            self._answer, self._asked_at = self._ask(anew=anew), now
        answer = self._answer
        try:
            return await asyncio.shield(answer)
        finally:
            if answer.done() and self._answer is answer:
                self._answer = None

    def _ask(self, *, anew: bool) -> asyncio.Future[Access]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Access] = loop.create_future()
        # Looked at once, so that nothing complains about an error that nobody waits for any more.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())

        def ask() -> None:
            try:
                access = self._credentials.access(anew=anew)
            except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
                tell(error)
            else:
                tell(access)

        def tell(result: Access | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(take, result)

        def take(result: Access | Exception) -> None:
            if answer.cancelled():
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        Thread(target=ask, name=f"credentials-{self._cluster}", daemon=True).start()
        return answer
