"""Publish one message to a Pub/Sub topic: `publish.py TOPIC DATA`."""

import json
import os
import sys
from collections.abc import Sequence

from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.types import PubsubMessage

_SECONDS = 20.0


def main(arguments: Sequence[str]) -> int:
    """Publish the command line's message and wait until Pub/Sub has it."""
    topic, data = arguments
    name = PublisherClient.topic_path(os.environ["GOOGLE_CLOUD_PROJECT"], topic)
    message = PubsubMessage(data=data.encode())
    published = PublisherClient().publish(topic=name, messages=[message], timeout=_SECONDS).message_ids[0]
    entry = {"severity": "INFO", "message": "published", "topic": topic, "messageId": published}
    sys.stdout.write(json.dumps(entry) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
