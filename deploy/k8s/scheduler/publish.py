"""Publish one message to a Pub/Sub topic: `publish.py TOPIC DATA`."""

import sys
from collections.abc import Sequence

from google.pubsub_v1.types import PubsubMessage

from ips_common.bus.pubsub import publisher_client
from ips_common.wiring.configuration import configure

_SECONDS = 20.0


def main(arguments: Sequence[str]) -> int:
    """Publish the command line's message and wait until Pub/Sub has it."""
    topic, data = arguments
    message = PubsubMessage(data=data.encode())
    name = f"projects/{configure().project}/topics/{topic}"
    publisher_client().publish(topic=name, messages=[message], timeout=_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
