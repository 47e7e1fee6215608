"""Release events: what builders, registries and deployers announce, and which images that means.

Each topic has its own format; `docs/release-events.md` says where each is documented.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from ips_common.errors import MalformedMessage
from ips_common.models.image import ImageReference, parse_image
from ips_common.models.task import TaskSpec

KEY_ATTRIBUTE = "idempotencyKey"
"""The attribute in which a publisher of task requests may name its own key."""

_MAX_QUOTED = 100
_MAX_FIELDS = 10
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_ABOUT_AN_IMAGE = re.compile(r"sha256-[a-f0-9]{64}(?:\.(?:sig|att|sbom))?")
"""Tags under which signatures and attestations lie beside the image they are about (cosign, OCI referrers)."""

_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9.:_-]*"
_RELEASE_NAME = re.compile(
    rf"(projects/{_SEGMENT}/locations/{_SEGMENT}/deliveryPipelines/{_SEGMENT}/releases/{_SEGMENT})"
    rf"(?:/rollouts/{_SEGMENT})?"
)


class ReleaseTopic(StrEnum):
    """Where release events come from, by the topic's name."""

    REQUESTS = "ips-releases"
    ARTIFACT_REGISTRY = "gcr"
    CLOUD_BUILD = "cloud-builds"
    CLOUD_DEPLOY = "clouddeploy-operations"


@dataclass(frozen=True, slots=True)
class ReleasedImage:
    """One image of a release; `digest` is empty if the event does not say it."""

    name: str
    tags: tuple[str, ...] = ()
    digest: str = ""

    @property
    def reference(self) -> str:
        """What is to be pulled.

        Pinned, it has no tag: some runtimes refuse references with both, and what announces the same digest under
        another tag means the same image.
        """
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tags[0]}"


@dataclass(frozen=True, slots=True)
class Release:
    """Images that are about to be wanted; `event_id` is the same however often the event is delivered."""

    topic: ReleaseTopic
    event_id: str
    images: tuple[ReleasedImage, ...]


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task that somebody asks for in so many words, and the key that the asking goes by."""

    spec: TaskSpec
    event_id: str


@dataclass(frozen=True, slots=True)
class NamedRelease:
    """A release of Cloud Deploy, whose images have to be looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that means no image, and why."""

    reason: str


Event = Release | TaskRequest | NamedRelease | Ignored


def parse_event(topic: str, data: bytes, attributes: Mapping[str, str], event_id: str) -> Event:
    """Read an event.

    Args:
        topic: the name of the topic that it was published to, which decides the format.
        data: the message's data, empty if it has none.
        attributes: the message's attributes.
        event_id: names the message, the same for every delivery.

    Raises:
        MalformedMessage: it is none of this topic's; says what is wrong.
    """
    match topic:
        case ReleaseTopic.REQUESTS:
            return _task_request(data, attributes, event_id)
        case ReleaseTopic.ARTIFACT_REGISTRY:
            return _registry_change(data, event_id)
        case ReleaseTopic.CLOUD_BUILD:
            return _build(data)
        case ReleaseTopic.CLOUD_DEPLOY:
            return _deploy_operation(attributes)
    raise MalformedMessage(f"no release events come from topic {_quoted(topic)}")


def release_of(name: str, references: Iterable[str]) -> Release:
    """Return the release of Cloud Deploy that holds these images.

    Raises:
        MalformedMessage: one of them is no image reference.
    """
    images = [_image(reference, f"buildArtifacts[{index}].tag") for index, reference in enumerate(references)]
    return Release(ReleaseTopic.CLOUD_DEPLOY, name, _merged(images))


def _task_request(data: bytes, attributes: Mapping[str, str], event_id: str) -> TaskRequest:
    try:
        spec = TaskSpec.model_validate(_json_object(data), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)[:_MAX_FIELDS]
        fields = (f"{_place(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}" for problem in problems)
        raise MalformedMessage("; ".join(fields)) from error
    key = attributes.get(KEY_ATTRIBUTE)
    if key is not None and not _KEY.fullmatch(key):
        raise MalformedMessage(f"attribute {KEY_ATTRIBUTE}: must be 1 to 255 visible ASCII characters without spaces")
    return TaskRequest(spec, f"key {key}" if key else event_id)


def _registry_change(data: bytes, event_id: str) -> Event:
    change = _json_object(data)
    action = change.get("action")
    if action == "DELETE":
        return Ignored("an image or a tag was deleted")
    if action != "INSERT":
        raise MalformedMessage("action: must be INSERT or DELETE")
    digest, tag = _text(change, "digest"), _text(change, "tag")
    if not digest and not tag:
        raise MalformedMessage("digest, tag: one of them is required")
    images = [_image(text, field) for text, field in ((digest, "digest"), (tag, "tag")) if text]
    if digest and not images[0].digest:
        raise MalformedMessage("digest: must be a reference with a digest")
    if len({image.name for image in images}) > 1:
        raise MalformedMessage("digest, tag: must be of the same repository")
    tags = images[-1].tags if tag else ()
    if any(_ABOUT_AN_IMAGE.fullmatch(name) for name in tags):
        return Ignored("a signature or an attestation, not an image")
    return Release(ReleaseTopic.ARTIFACT_REGISTRY, event_id, (ReleasedImage(images[0].name, tags, images[0].digest),))


def _build(data: bytes) -> Event:
    build = _json_object(data)
    status, build_id = _text(build, "status"), _text(build, "id")
    if not status or not build_id:
        raise MalformedMessage("id, status: are required")
    if status != "SUCCESS":
        return Ignored(f"the build is {_quoted(status)}")
    results = _object(build.get("results") or {}, "results")
    built = results.get("images") or []
    if not isinstance(built, list):
        raise MalformedMessage("results.images: must be a list")
    images = [_built(image, f"results.images[{index}]") for index, image in enumerate(built)]
    return Release(ReleaseTopic.CLOUD_BUILD, build_id, _merged(images)) if images else Ignored("a build of no image")


def _built(value: object, field: str) -> ReleasedImage:
    built = _object(value, field)
    image = _image(_text(built, "name", f"{field}.name"), f"{field}.name")
    digest = _text(built, "digest", f"{field}.digest")
    if digest and not _DIGEST.fullmatch(digest):
        raise MalformedMessage(f"{field}.digest: must be sha256: and 64 hexadecimal digits")
    return ReleasedImage(image.name, image.tags, digest or image.digest)


def _deploy_operation(attributes: Mapping[str, str]) -> Event:
    kind, action = attributes.get("ResourceType", ""), attributes.get("Action", "")
    if not kind or not action:
        raise MalformedMessage("attributes ResourceType, Action: are required")
    # Rendered, a release can be rolled out; a rollout may begin long after that, on nodes that are new.
    if (kind, action) not in {("Release", "Succeed"), ("Rollout", "Start")}:
        return Ignored(f"{_quoted(kind)} {_quoted(action)}")
    name = _RELEASE_NAME.fullmatch(attributes.get("Resource", ""))
    if name is None:
        raise MalformedMessage("attribute Resource: must be the name of a release or a rollout")
    return NamedRelease(name[1])


def _merged(images: Sequence[ReleasedImage]) -> tuple[ReleasedImage, ...]:
    """Each image once, a pinned one with all its tags."""
    tags: dict[str, list[str]] = {}
    first: dict[str, ReleasedImage] = {}
    for image in images:
        first.setdefault(image.reference, image)
        known = tags.setdefault(image.reference, [])
        known.extend(tag for tag in image.tags if tag not in known)
    return tuple(ReleasedImage(image.name, tuple(tags[key]), image.digest) for key, image in first.items())


def _image(text: str, field: str) -> ReleasedImage:
    try:
        parsed: ImageReference = parse_image(text)
    except ValueError as error:
        raise MalformedMessage(f"{field}: {error}") from error
    return ReleasedImage(f"{parsed.registry}/{parsed.repository}", (parsed.tag,) if parsed.tag else (), parsed.digest)


def _json_object(data: bytes) -> Mapping[str, Any]:
    if not data:
        raise MalformedMessage("there is no data")
    try:
        return _object(json.loads(data), "data")
    except RecursionError as error:
        raise MalformedMessage("data is nested too deeply") from error
    except ValueError as error:
        # The parser quotes nothing but places; of what cannot be decoded it would.
        raise MalformedMessage(
            "data is not text" if isinstance(error, UnicodeDecodeError) else f"data is not JSON: {error}"
        ) from error


def _object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessage(f"{field}: must be an object")
    return value


def _text(values: Mapping[str, Any], name: str, field: str = "") -> str:
    value = values.get(name) or ""
    if not isinstance(value, str) or not value.isprintable():
        raise MalformedMessage(f"{field or name}: must be a string of visible characters")
    return value


def _place(location: Iterable[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]")
    return "".join(parts).removeprefix(".")[:_MAX_QUOTED] or "data"


def _quoted(text: str) -> str:
    return repr(text[:_MAX_QUOTED])
