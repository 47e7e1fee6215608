"""Run a simulated cluster until it is told to stop."""

import argparse
import asyncio
import gc
import os
import random
import signal
from pathlib import Path

import orjson
import uvloop

from deploy.local.cluster.api.server import ApiServer
from deploy.local.cluster.clock import LoopClock
from deploy.local.cluster.control_plane import ControlPlane
from deploy.local.cluster.credentials import HOST, Credentials, serving_context, write_atomically
from deploy.local.cluster.running import READY
from deploy.local.cluster.scenario import Scenario, load


async def serve(directory: Path, *, nodes: int, port: int, scenario: Scenario, seed: int) -> None:
    """Serve from `directory`, whose `ready.json` appears once requests are answered."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock = LoopClock(loop)
    plane = ControlPlane(clock, scenario, nodes=nodes, seed=seed)
    credentials = Credentials(directory, scenario.users)
    server = ApiServer(plane, credentials, scenario, clock, random.Random(seed))
    chosen = await server.start(port, serving_context(directory))
    credentials.url = f"https://{HOST}:{chosen}"
    credentials.write_kubeconfig()
    # The nodes live as long as the process, and most other objects for minutes: looking through all of them for garbage
    # at the default rate takes a tenth of the time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    write_atomically(directory / READY, orjson.dumps({"url": credentials.url, "pid": os.getpid()}))
    await stop.wait()
    await server.stop()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.cluster", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where ca.crt, kubeconfig and ready.json go")
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--scenario", type=Path, help="a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of names, uids and chance")
    given = parser.parse_args()
    given.dir.mkdir(parents=True, exist_ok=True)
    (given.dir / READY).unlink(missing_ok=True)
    try:
        scenario = load(given.scenario)
    except (OSError, ValueError) as error:
        parser.error(f"--scenario {given.scenario}: {error}")
    uvloop.run(serve(given.dir, nodes=given.nodes, port=given.port, scenario=scenario, seed=given.seed))


if __name__ == "__main__":
    main()
