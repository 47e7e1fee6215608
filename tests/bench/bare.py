"""The baseline: a bare asynchronous client that creates Jobs and watches them end, and does nothing else."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import yaml

from deploy.local.stack import Stack

JOBS = "/apis/batch/v1/namespaces/ips/jobs"
IN_FLIGHT = 64


@dataclass(frozen=True)
class Login:
    """Where the API server is and how to be let in, from the current context of a kubeconfig."""

    url: str
    ca: str
    token: str

    @classmethod
    def of(cls, stack: Stack) -> "Login":
        """Read the administrator's login of a stack's cluster."""
        config = yaml.safe_load(stack.kubeconfig.read_text(encoding="utf-8"))
        context = next(item["context"] for item in config["contexts"] if item["name"] == config["current-context"])
        cluster = next(item["cluster"] for item in config["clusters"] if item["name"] == context["cluster"])
        user = next(item["user"] for item in config["users"] if item["name"] == context["user"])
        ca = cluster.get("certificate-authority") or str(stack.kubeconfig.parent / "ca.crt")
        return cls(cluster["server"], ca, user["token"])

    def session(self) -> aiohttp.ClientSession:
        """Open a session that knows the cluster."""
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT + 8, ssl=ssl.create_default_context(cafile=self.ca))
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        return aiohttp.ClientSession(self.url, connector=connector, headers=headers)


async def create(session: aiohttp.ClientSession, jobs: Sequence[Any]) -> float:
    """Create Jobs, 64 requests at a time; returns the seconds it took."""
    bodies = iter([orjson.dumps(job) for job in jobs])

    async def work() -> None:
        for body in bodies:
            async with session.post(JOBS, data=body) as answer:
                await answer.read()
                assert answer.status == 201, answer.status

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return time.monotonic() - began


async def create_and_wait(session: aiohttp.ClientSession, jobs: Sequence[Any], task_id: str) -> float:
    """Create Jobs and watch until all are complete; returns the seconds it took."""
    began = time.monotonic()
    waiting = {job["metadata"]["name"] for job in jobs}
    params = {"watch": "1", "labelSelector": f"task-id={task_id}", "allowWatchBookmarks": "true"}

    async def follow() -> None:
        rest = b""
        async with session.get(JOBS, params=params, timeout=aiohttp.ClientTimeout(total=None)) as stream:
            async for chunk in stream.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    job = orjson.loads(line)["object"]
                    if (job.get("status") or {}).get("succeeded"):
                        waiting.discard(job["metadata"]["name"])
                if not waiting:
                    return

    watching = asyncio.create_task(follow())
    await create(session, jobs)
    await watching
    return time.monotonic() - began


async def delete_all(session: aiohttp.ClientSession) -> None:
    """Delete every prewarm Job and wait until it and its pods are gone."""
    selector = {"labelSelector": "app=image-prewarm"}
    async with session.delete(JOBS, params={**selector, "propagationPolicy": "Background"}) as answer:
        await answer.read()
    while True:
        left = 0
        for path in (JOBS, "/api/v1/namespaces/ips/pods"):
            async with session.get(path, params={**selector, "limit": "1"}) as answer:
                left += len((await answer.json())["items"])
        if not left:
            return
        await asyncio.sleep(0.1)
