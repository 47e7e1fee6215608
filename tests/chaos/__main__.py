"""`make chaos`: one long run; `IPS_CHAOS_SEED` repeats one, `IPS_CHAOS_SECONDS` sets how long faults go on."""

import os
import secrets
import sys

from tests.chaos.run import run


def main() -> int:
    """Run and print the figures last."""
    seed = int(os.environ.get("IPS_CHAOS_SEED") or secrets.randbelow(1_000_000))
    seconds = float(os.environ.get("IPS_CHAOS_SECONDS") or 150)
    sys.stderr.write(f"seed {seed}\n")
    report = run(seed, tasks=max(4, int(seconds / 8)), seconds=seconds)
    for violation in report.violations:
        sys.stdout.write(f"violation: {violation}\n")
    sys.stdout.write(f"{report}\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
