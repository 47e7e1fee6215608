"""Explore for minutes, or plant bugs and see whether they are found."""

import argparse
import logging
import os
import sys
import time

from tests.model.explorer import explore
from tests.model.machine import explored
from tests.model.planted import hunt_all

SECONDS = 240
EXAMPLES = 150
"""Lives of the world from one seed; the next ones are from the next."""


def main() -> int:
    """Explore, and say how much; returns how much went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--seconds", type=float, help=f"how long, or how long for each bug ({SECONDS}, 60)")
    parser.add_argument("--steps", type=int, default=50, help="how much may happen in one life, at most (50)")
    parser.add_argument("--seed", type=int, help="where to begin; the last line of a run names it (by time)")
    parser.add_argument("--no-shrink", action="store_true", help="tell what goes wrong as it is, however long")
    parser.add_argument("--planted", nargs="*", metavar="WORDS", help="plant the bugs whose names have these words")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # What a set is iterated in must not differ from run to run, or a seed would mean little.
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.model", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
        )
    if options.planted is not None:
        return hunt_all(options.planted, options.seconds or 60)
    seed = time.time_ns() % 1_000_000 if options.seed is None else options.seed
    return _explore(options.seconds or SECONDS, options.steps, seed, shrink=not options.no_shrink)


def _explore(seconds: float, steps: int, seed: int, *, shrink: bool) -> int:
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    violations = 0
    at = seed
    try:
        while time.monotonic() < began + seconds:
            explore(EXAMPLES, steps, seed=at, shrink=shrink)
            at += 1
    except AssertionError as error:
        violations = 1
        words = [str(error), *getattr(error, "__notes__", ()), f"again with: --seed {at} --steps {steps}"]
        sys.stdout.write("\n".join(words) + "\n")
    sys.stdout.write(
        f"model: seed {seed}: {explored['steps']} steps in {explored['examples']} examples, {explored['calls']} calls "
        f"of the outside world, {time.monotonic() - began:.0f} s, {violations} violations\n"
    )
    return violations


if __name__ == "__main__":
    sys.exit(main())
