"""Explore for minutes: `python -m tests.model`.

`MODEL_EXAMPLES` and `MODEL_STEPS` say how long, `MODEL_SEED` where. What goes wrong is made as short as possible first,
which takes up to five minutes more; `MODEL_SHRINK=0` leaves that out.
"""

import logging
import os
import sys
import time

from tests.model.machine import explore, explored

EXAMPLES, STEPS = "8000", "50"


def main() -> int:
    """Explore, and say how much; returns 1 if something went wrong."""
    logging.disable(logging.CRITICAL)
    seed = int(os.environ.get("MODEL_SEED") or time.time_ns() % 1_000_000)
    examples, steps = (os.environ.get("MODEL_EXAMPLES") or EXAMPLES), (os.environ.get("MODEL_STEPS") or STEPS)
    began = time.monotonic()
    violations = 0
    try:
        explore(int(examples), int(steps), seed=seed, shrink=os.environ.get("MODEL_SHRINK") != "0")
    except AssertionError as error:
        violations = 1
        sys.stdout.write("\n".join([str(error), *getattr(error, "__notes__", ())]) + "\n")
    sys.stdout.write(
        f"model: seed {seed}: {explored['steps']} steps in {explored['examples']} examples, {explored['calls']} calls "
        f"of the outside world, {time.monotonic() - began:.0f} s, {violations} violations\n"
    )
    return violations


if __name__ == "__main__":
    sys.exit(main())
