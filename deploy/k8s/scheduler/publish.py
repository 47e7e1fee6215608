"""Publish one message to a Pub/Sub topic: `publish.py TOPIC DATA`."""

import json
import os
import sys
from collections.abc import Sequence

from google.cloud.pubsub_v1 import PublisherClient

_SECONDS = 20.0


def main(arguments: Sequence[str]) -> int:
    """Publish the command line's message and wait until Pub/Sub has it."""
    topic, data = arguments
    publisher = PublisherClient()
    name = publisher.topic_path(os.environ["GOOGLE_CLOUD_PROJECT"], topic)
    published = publisher.publish(name, data.encode(), timeout=_SECONDS).result(_SECONDS)
    entry = {"severity": "INFO", "message": "published", "topic": topic, "messageId": published}
    sys.stdout.write(json.dumps(entry) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
