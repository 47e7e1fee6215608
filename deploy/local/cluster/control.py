"""Give a running cluster a command: `python -m deploy.local.cluster.control --dir DIR nodes/node-00003 gone=true`.

Values are YAML. Without values a command is read: `requests`, `faults`, `kubelet`; without a command all are listed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from deploy.local.cluster.running import reach


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, send the command and print the answer."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.cluster.control", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where the cluster keeps ready.json")
    parser.add_argument("--post", action="store_true", help="send the command though it has no values")
    parser.add_argument("command", nargs="?", default="")
    parser.add_argument("values", nargs="*", help="field=value")
    given = parser.parse_args(arguments)
    body = {field: yaml.safe_load(text) for field, _, text in (value.partition("=") for value in given.values)}
    try:
        answer = reach(given.dir).command(given.command, body if body or given.post else None)
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
