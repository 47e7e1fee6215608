"""The recorded shapes of release events, and messages made of them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ips_common.bus.envelope import RawDelivery

FOLDER = Path(__file__).resolve().parents[2] / "data" / "events"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if not path.stem.startswith("api-"))

WEB_DIGEST = "sha256:" + "6ec128e26cd5".ljust(64, "0")
CART_DIGEST = "sha256:" + "b7f2".ljust(64, "1")
HELLO = "us-west1-docker.pkg.dev/my-project/my-repo/hello-world"
WEB = "us-docker.pkg.dev/my-project/shop/web"
CART = "us-docker.pkg.dev/my-project/shop/cart"
RELEASE_NAME = "projects/123456789012/locations/us-central1/deliveryPipelines/shop/releases/shop-20261124-1"


@dataclass(frozen=True)
class Message:
    """One message as it was published."""

    topic: str
    data: bytes = b""
    attributes: Mapping[str, str] = field(default_factory=dict)

    def delivery(self, message_id: str = "1", published: str = "2026-01-02T03:04:05Z") -> RawDelivery:
        """The message as the function gets to see it."""
        return RawDelivery(self.topic, self.data, self.attributes, message_id, published)

    def push(self, message_id: str = "1", **more: Any) -> dict[str, Any]:
        """The message as Pub/Sub pushes it: what is empty is left out."""
        message: dict[str, Any] = {"messageId": message_id, "publishTime": "2026-01-02T03:04:05Z"}
        if self.data:
            message["data"] = base64.b64encode(self.data).decode()
        if self.attributes:
            message["attributes"] = dict(self.attributes)
        return {"message": message, "subscription": "projects/p/subscriptions/s", **more}

    @property
    def path(self) -> str:
        """Where the message's subscription pushes to."""
        return f"/projects/p/topics/{self.topic}"


def recorded(name: str) -> Message:
    """A message of `tests/data/events`."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    data = json.dumps(content["data"]).encode() if "data" in content else b""
    return Message(content["topic"], data, content.get("attributes", {}))


def registry(**change: str) -> Message:
    """A change of a registry."""
    return Message("gcr", json.dumps({"action": "INSERT", **change}).encode())


def build(*images: tuple[str, str], build_id: str = "build-1") -> Message:
    """A build of images, each a name and a digest; an empty digest is left out."""
    results = [{"name": name, **({"digest": digest} if digest else {})} for name, digest in images]
    content = {"id": build_id, "status": "SUCCESS", "results": {"images": results}}
    return Message("cloud-builds", json.dumps(content).encode(), {"buildId": build_id, "status": "SUCCESS"})


def request(attributes: Mapping[str, str] | None = None, **fields: object) -> Message:
    """A task request."""
    return Message("ips-releases", json.dumps({"images": ["nginx:1.27"], **fields}).encode(), attributes or {})


def release_answer() -> Any:
    """What the API of Cloud Deploy answers for `RELEASE_NAME`."""
    return json.loads((FOLDER / "api-cloud-deploy-release.json").read_text())
