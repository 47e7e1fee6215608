"""The commands behind `make run` and `make demo`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deploy.local.console import reporter
from deploy.local.demo.show import demo
from deploy.local.errors import StackError
from deploy.local.stack import Stack
from deploy.local.target import NAMESPACE

_PORT = ("IPS_", "_PORT")
MOST_NODES = 20_000


def main(arguments: Sequence[str]) -> int:
    """Run the command of `arguments` and return its exit code."""
    options = _parser().parse_args(arguments)
    console = Console()
    # SIGINT too: shells have what they start in the background ignore it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        stack = Stack(
            nodes=(nodes := _nodes(options.nodes)),
            scenario=_file("IPS_SCENARIO", options.scenario),
            kubeconfig=_file("IPS_KUBECONFIG", options.kubeconfig),
            ports=_ports(),
            reporter=reporter(console),
        )
        return demo(stack, console, nodes) if options.command == "demo" else _run(stack, console)
    except StackError as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 0 if options.command == "run" else 130


def _run(stack: Stack, console: Console) -> int:
    with stack:
        kubectl = f"kubectl --kubeconfig {_short(stack.kubeconfig)} -n {NAMESPACE}"
        body = '{"images": ["registry.example/shop/web:1.4.2"], "batchSize": 5}'
        rows = {
            "API": stack.api_url,
            "create": f"curl -s {stack.api_url}/api/v1/tasks -H 'Content-Type: application/json' -d '{body}'",
            "list": f"curl -s {stack.api_url}/api/v1/tasks",
            "cluster": f"{kubectl} get nodes,jobs,pods",
            "watch": f"{kubectl} get pods -o wide -w",
            "logs": f"tail -f {_short(stack.folders.logs)}/*.log",
            "stop": "Ctrl-C",
        }
        console.print()
        for title, text in rows.items():
            console.print(f"{title:<8} {text}", highlight=False, soft_wrap=True, markup=False)
        stack.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=["run", "demo"])
    environ = os.environ
    parser.add_argument("--nodes", default=environ.get("IPS_NODES", "20"), help="of the simulated cluster (IPS_NODES)")
    parser.add_argument(
        "--scenario", default=environ.get("IPS_SCENARIO"), help="for the simulated cluster (IPS_SCENARIO)"
    )
    parser.add_argument("--kubeconfig", default=environ.get("IPS_KUBECONFIG"), help="a real cluster (IPS_KUBECONFIG)")
    return parser


def _nodes(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_NODES:
        raise StackError(f"IPS_NODES={text} is no number of nodes; give one from 1 to {MOST_NODES}")
    return int(text)


def _file(variable: str, text: str | None) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise StackError(f"{variable}={text}: there is no such file; give one, or leave it out")
    return path


def _ports() -> dict[str, int]:
    """The ports that the environment gives to parts, as `IPS_<PART>_PORT`."""
    prefix, suffix = _PORT
    ports: dict[str, int] = {}
    for name, text in os.environ.items():
        if name.startswith(prefix) and name.endswith(suffix):
            if not text.isdigit() or not 0 < int(text) < 1 << 16:
                raise StackError(f"{name}={text} is not a port; give a number from 1 to 65535")
            ports[name.removeprefix(prefix).removesuffix(suffix).lower().replace("_", "-")] = int(text)
    return ports


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
