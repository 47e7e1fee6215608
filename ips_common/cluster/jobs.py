"""Creating and deleting many Jobs at a time; DaemonSets, of which there is one, the same way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import orjson

from ips_common.cluster.pages import pages
from ips_common.cluster.status import Answer, Call, failure
from ips_common.cluster.transport import Transport
from ips_common.errors import ClusterRefused, ClusterUnavailable
from ips_common.observe import ATTEMPT_LABEL, BATCH_LABEL, SELECTOR, TASK_LABEL
from ips_common.ports.cluster import Creation, JobOutcome, Json

T = TypeVar("T")

_CONFLICT = "Conflict"
"""The reason of a 409 that is no `AlreadyExists`: a quota's count was changed by somebody else at the same time."""

_STRICT = {"fieldValidation": "Strict"}
"""Have unknown fields refused: without its image a volume would be an empty folder, and every pull a success."""

_BEING_DELETED = "object is being deleted"
"""How the message of an `AlreadyExists` begins if the object only waits for its finalizers."""


class Jobs:
    """The Jobs, or the DaemonSets, of one namespace."""

    def __init__(
        self, transport: Transport, namespace: str, *, in_flight: int, group: str = "batch/v1", resource: str = "jobs"
    ) -> None:
        self._transport = transport
        self._path = f"/apis/{group}/namespaces/{namespace}/{resource}"
        self._resource = f"{resource} in namespace {namespace}"
        self._in_flight = in_flight

    async def create(self, jobs: Sequence[Json], deadline: float) -> list[JobOutcome]:
        """Create Jobs; one outcome each, in order. Never raises for a Job that could not be created."""
        outcomes: dict[str, JobOutcome] = {}
        away = ""

        async def create(job: Json) -> None:
            nonlocal away
            name = job["metadata"]["name"]
            # A server that one Job could not reach is not waited for again by each of those that come after.
            outcomes[name] = JobOutcome(name, Creation.FAILED, away) if away else await self._create(job, deadline)
            if outcomes[name].creation is Creation.FAILED and outcomes[name].status == 0:
                away = outcomes[name].message

        await self._each(jobs, create)
        there = [job for job in jobs if outcomes[job["metadata"]["name"]].creation is Creation.EXISTS]
        if there:
            await self._check(there, outcomes, deadline)
        return [outcomes[job["metadata"]["name"]] for job in jobs]

    async def delete(self, selector: str, deadline: float, *, unfinished_only: bool) -> None:
        """Delete the Jobs that match a label selector with their pods, all of them or those that did not succeed.

        Raises:
            ClusterUnavailable: no answer in time.
            ClusterRefused: neither all at once nor one by one is allowed.
        """
        params = {"labelSelector": selector}
        if unfinished_only:
            params["fieldSelector"] = "status.successful=0"
        call = Call("deletecollection", self._resource, self._path)
        try:
            answer = await self._transport.send(
                call, deadline, params=params | {"propagationPolicy": "Background"}, discard=True
            )
            if not answer.ok:
                raise failure(self._transport.cluster, call, answer)
        except ClusterRefused as error:
            if error.status != 403:
                raise
            await self.delete_named(await self._names(params, deadline), deadline)

    async def delete_named(self, names: Sequence[str], deadline: float) -> None:
        """Delete Jobs by name with their pods; one that does not exist is fine.

        Raises:
            ClusterUnavailable: some could not be deleted in time.
            ClusterRefused: Jobs may not be deleted.
        """

        async def delete(name: str) -> None:
            call = Call("delete", self._resource, f"{self._path}/{name}", name)
            answer = await self._transport.send(call, deadline, params={"propagationPolicy": "Background"})
            if not answer.ok and answer.status != 404:
                raise failure(self._transport.cluster, call, answer)

        await self._each(names, delete)

    async def any(self, selector: str, deadline: float) -> bool:
        """Whether a Job matches a label selector; asking also shows whether Jobs can be listed.

        Raises:
            ClusterUnavailable: no answer in time.
            ClusterRefused: Jobs may not be listed.
        """
        call = Call("list", self._resource, self._path)
        answer = await self._transport.ask(call, deadline, params={"labelSelector": selector, "limit": "1"})
        return bool(answer.json().get("items"))

    async def _create(self, job: Json, deadline: float) -> JobOutcome:
        name = job["metadata"]["name"]
        call = Call("create", self._resource, self._path, name)
        body = orjson.dumps(job)
        try:
            while True:
                answer = await self._transport.send(call, deadline, params=_STRICT, body=body)
                if answer.ok:
                    return JobOutcome(name, Creation.CREATED)
                if answer.status == 409 and answer.words()[0] == _CONFLICT:
                    await asyncio.sleep(self._transport.pace.first_delay)
                    continue
                return _outcome(name, answer)
        except ClusterUnavailable as error:
            return JobOutcome(name, Creation.FAILED, str(error))

    async def _check(self, jobs: Sequence[Json], outcomes: dict[str, JobOutcome], deadline: float) -> None:
        """Look at the Jobs that existed: one that is being deleted, or that somebody else made, will not pull anything.

        One list per batch rather than one request per Job.
        """
        terminating: dict[str, bool] = {}
        selectors = {
            ",".join(
                f"{label}={job['metadata']['labels'][label]}" for label in (TASK_LABEL, ATTEMPT_LABEL, BATCH_LABEL)
            )
            for job in jobs
        }
        try:
            for selector in selectors:
                call = Call("list", self._resource, self._path)
                async for page in pages(self._transport, call, deadline, {"labelSelector": f"{SELECTOR},{selector}"}):
                    for item in page.items:
                        terminating[item["metadata"]["name"]] = "deletionTimestamp" in item["metadata"]
        except ClusterUnavailable as error:
            for job in jobs:
                name = job["metadata"]["name"]
                outcomes[name] = JobOutcome(name, Creation.FAILED, str(error))
            return
        except ClusterRefused:
            return  # what exists under our deterministic name is most likely ours
        for job in jobs:
            name = job["metadata"]["name"]
            if name not in terminating:
                outcomes[name] = await self._create_again(job, deadline)
            elif terminating[name]:
                outcomes[name] = _still_there(name)

    async def _create_again(self, job: Json, deadline: float) -> JobOutcome:
        """Create a Job that existed a moment ago but was not among ours: it may have gone since."""
        outcome = await self._create(job, deadline)
        if outcome.creation is not Creation.EXISTS:
            return outcome
        words = f"a {job['kind']} named {outcome.name} exists that IPS did not make for this batch"
        return JobOutcome(outcome.name, Creation.REFUSED, words, 409, "AlreadyExists")

    async def _names(self, params: dict[str, str], deadline: float) -> list[str]:
        call = Call("list", self._resource, self._path)
        return [
            item["metadata"]["name"]
            async for page in pages(self._transport, call, deadline, params)
            for item in page.items
        ]

    async def _each(self, things: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
        """Do something to each thing, a bounded number at a time; stop at the first error and raise it."""
        left = iter(things)

        async def work() -> None:
            for thing in left:
                await do(thing)

        workers = [asyncio.create_task(work()) for _ in range(min(self._in_flight, len(things)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


def _outcome(name: str, answer: Answer) -> JobOutcome:
    reason, message = answer.words()
    if answer.status == 409 and reason == "AlreadyExists":
        return _still_there(name) if message.startswith(_BEING_DELETED) else JobOutcome(name, Creation.EXISTS)
    return JobOutcome(name, Creation.REFUSED, message, answer.status, reason)


def _still_there(name: str) -> JobOutcome:
    return JobOutcome(
        name, Creation.FAILED, f"an earlier Job named {name} is still being deleted", 409, "AlreadyExists"
    )
