"""Makes an API key: `python -m ips_common.auth NAME [reader|writer]`."""

import json
import sys

from ips_common.auth.api_key import new_key
from ips_common.models.access import Role


def main(arguments: list[str]) -> int:
    """Print a new key, which is stored nowhere, and its entry for `IPS_API_KEYS`."""
    roles = [role.value for role in Role]
    if not 1 <= len(arguments) <= 2 or not set(arguments[1:]) <= set(roles):
        sys.stderr.write(f"usage: python -m ips_common.auth NAME [{'|'.join(roles)}]\n")
        return 2
    name, role = arguments[0], arguments[1] if arguments[1:] else Role.READER.value
    key, hashed = new_key()
    sys.stdout.write(f"the key, shown this once: {key}\n")
    sys.stdout.write(f"IPS_API_KEYS: {json.dumps({name: {'role': role, 'hash': hashed}})}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
