"""Measure the simulation: Jobs created a second, with controllers, kubelets and watchers at work, and memory.

`python -m deploy.local.cluster.bench --nodes 5000 --jobs 5000`
"""

import argparse
import asyncio
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from deploy.local.cluster.kubelet.node import name_of
from deploy.local.cluster.running import RunningCluster, running_cluster

_NAMESPACE = "bench"
_JOBS = f"/apis/batch/v1/namespaces/{_NAMESPACE}/jobs"
_PODS = f"/api/v1/namespaces/{_NAMESPACE}/pods"


def _job(index: int, node: str) -> dict[str, Any]:
    """A Job like those of IPS: one init container, one image."""
    mount = [{"name": "bin", "mountPath": "/prewarm"}]
    secured = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = {"app": "image-prewarm", "task-id": "bench"}
    pinned = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [pinned]}}
        },
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [
            {
                "name": "install",
                "image": "mirror.gcr.io/library/busybox:1.37.0-musl",
                "command": ["cp", "/bin/busybox", "/prewarm/true"],
                "volumeMounts": mount,
                "securityContext": secured,
            }
        ],
        "containers": [
            {
                "name": "image-0",
                "image": "europe-docker.pkg.dev/demo/apps/app:1",
                "command": ["/prewarm/true"],
                "volumeMounts": mount,
                "securityContext": secured,
            }
        ],
        "volumes": [{"name": "bin", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"bench-{index}", "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 600,
            "ttlSecondsAfterFinished": 3600,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


class _Bench:
    def __init__(self, session: aiohttp.ClientSession, url: str, jobs: int) -> None:
        self._session = session
        self._url = url
        self._jobs = jobs
        self._complete: set[str] = set()
        self.all_complete = asyncio.Event()
        self.events = 0

    async def create(self, path: str, body: dict[str, Any]) -> None:
        data = orjson.dumps(body)
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url + path, data=data, headers=headers) as response:
            if response.status != 201:
                raise RuntimeError(f"{path}: {response.status} {await response.text()}")
            await response.read()

    async def watch(self, path: str) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        rest = b""
        async with self._session.get(f"{self._url}{path}?watch=1", timeout=timeout) as response:
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self.events += 1
                    # Parsed only where it matters, so that the measuring takes little of the machine.
                    if path == _JOBS and b'"type":"Complete"' in line:
                        self._complete.add(orjson.loads(line)["object"]["metadata"]["name"])
                        if len(self._complete) == self._jobs:
                            self.all_complete.set()


async def _run(cluster: RunningCluster, *, nodes: int, jobs: int, parallel: int) -> None:
    tls = ssl.create_default_context(cafile=str(cluster.authority))
    connector = aiohttp.TCPConnector(ssl=tls, limit=parallel + 4)
    headers = {"Authorization": f"Bearer {cluster.token()}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        bench = _Bench(session, cluster.url, jobs)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        await bench.create("/api/v1/namespaces", {"metadata": {"name": _NAMESPACE, "labels": labels}})
        watches = [asyncio.create_task(bench.watch(path)) for path in (_JOBS, _PODS)]
        indexes = iter(range(jobs))

        async def create_some() -> None:
            for index in indexes:
                await bench.create(_JOBS, _job(index, name_of(index % nodes)))

        started = time.perf_counter()
        await asyncio.gather(*(create_some() for _ in range(parallel)))
        created = time.perf_counter() - started
        await bench.all_complete.wait()
        ended = time.perf_counter() - started
        for watch in watches:
            watch.cancel()
    print(f"{jobs} Jobs on {nodes} nodes created in {created:.1f} s: {jobs / created:.0f}/s")
    print(f"all complete after {ended:.1f} s; {bench.events} watch events seen")
    print(f"server: {_memory_mib(cluster.pid):.0f} MiB at most, {_cpu_seconds(cluster.pid):.1f} s of one core")


def _memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Start a cluster and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--parallel", type=int, default=32, help="requests at once")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running_cluster(Path(directory), nodes=given.nodes) as cluster:
        asyncio.run(_run(cluster, nodes=given.nodes, jobs=given.jobs, parallel=given.parallel))


if __name__ == "__main__":
    main()
