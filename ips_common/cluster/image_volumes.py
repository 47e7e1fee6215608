"""Finding out whether a cluster's API server lets pods have image volumes.

Its version does not tell: the feature has a gate. So it is asked to create a Job that has one, without keeping it. A
server without the feature drops the field, and then misses it.
"""

import asyncio

import orjson

from ips_common.cluster.status import Call, failure
from ips_common.cluster.transport import Transport
from ips_common.manifests import image_volume_probe

REMEMBERED_SECONDS = 600.0


class ImageVolumes:
    """What is known of one API server; used on the background loop only."""

    def __init__(self, transport: Transport, namespace: str, *, remembered: float = REMEMBERED_SECONDS) -> None:
        self._transport = transport
        self._namespace = namespace
        self._remembered = remembered
        self._known: bool | None = None
        self._known_until = 0.0

    async def supported(self, deadline: float) -> bool:
        """Whether pods may have image volumes.

        Raises:
            ClusterUnavailable: no answer in time.
            ClusterRefused: it does not let itself be asked.
        """
        now = asyncio.get_running_loop().time()
        if self._known is None or now >= self._known_until:
            self._known = await self._ask(deadline)
            self._known_until = now + self._remembered
        return self._known

    async def _ask(self, deadline: float) -> bool:
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs"
        job = image_volume_probe(self._namespace)
        call = Call("create", f"jobs in namespace {self._namespace}", path, job["metadata"]["name"])
        answer = await self._transport.send(call, deadline, params={"dryRun": "All"}, body=orjson.dumps(job))
        if answer.status in {400, 422} and _misses_the_volume(answer.words()[1]):
            return False
        if not answer.ok:
            raise failure(self._transport.cluster, call, answer)
        volumes = answer.json()["spec"]["template"]["spec"].get("volumes") or ()
        return any("image" in volume for volume in volumes)


def _misses_the_volume(words: str) -> bool:
    """Tell a server that does not take the volume from admission control that does not like the Job.

    Webhooks and policies refuse with the same statuses, for instance for the probe's registry or a dry run as such.
    """
    return "volumes[0]" in words and "denied" not in words
