"""What each kind of release event means, and that nothing which is none gets further than being said so."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ips_common.errors import MalformedMessage
from ips_common.models.image import parse_image
from ips_common.models.release import (
    Event,
    Ignored,
    NamedRelease,
    Release,
    ReleasedImage,
    ReleaseTopic,
    TaskRequest,
    parse_event,
    release_of,
)
from tests.unit.release.events import (
    CART,
    CART_DIGEST,
    HELLO,
    NAMES,
    RELEASE_NAME,
    WEB,
    WEB_DIGEST,
    Message,
    build,
    recorded,
    registry,
    release_answer,
    request,
)


def parse(message: Message, event_id: str = "1 now") -> Event:
    return parse_event(message.topic, message.data, message.attributes, event_id)


def complaint(message: Message) -> str:
    with pytest.raises(MalformedMessage) as caught:
        parse(message)
    return str(caught.value)


REGISTRY, BUILD = ReleaseTopic.ARTIFACT_REGISTRY, ReleaseTopic.CLOUD_BUILD

RECORDED: dict[str, Event] = {
    "artifact-registry-digest": Release(REGISTRY, "1 now", (ReleasedImage(HELLO, (), WEB_DIGEST),)),
    "artifact-registry-tag": Release(REGISTRY, "1 now", (ReleasedImage(HELLO, ("1.1",), WEB_DIGEST),)),
    "artifact-registry-delete": Ignored("an image or a tag was deleted"),
    "artifact-registry-signature": Ignored("a signature or an attestation, not an image"),
    "cloud-build-success": Release(
        BUILD,
        "7e8f5a52-3c1f-4f7e-9a77-0c4f5c1d2e3a",
        (ReleasedImage(WEB, ("1.2", "latest"), WEB_DIGEST), ReleasedImage(CART, ("1.2",), CART_DIGEST)),
    ),
    "cloud-build-working": Ignored("the build is 'WORKING'"),
    "cloud-build-without-images": Ignored("a build of no image"),
    "cloud-deploy-release-rendered": NamedRelease(RELEASE_NAME),
    "cloud-deploy-release-started": Ignored("'Release' 'Start'"),
    "cloud-deploy-rollout-started": NamedRelease(RELEASE_NAME),
    "cloud-deploy-job-terminated": Ignored("'JobRun' 'Terminated'"),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_documented_shape_is_understood(name: str) -> None:
    event = parse(recorded(name))
    if name == "task-request":
        assert isinstance(event, TaskRequest)
        assert (event.spec.images, event.spec.batch_size, event.event_id) == ((f"{WEB}:1.2",), 20, "key shop-1.2")
    else:
        assert event == RECORDED[name]


def test_a_release_of_cloud_deploy_holds_what_its_artifacts_name() -> None:
    tags = [artifact["tag"] for artifact in release_answer()["buildArtifacts"]]
    assert release_of(RELEASE_NAME, tags).images == (
        ReleasedImage(WEB, ("1.2",), WEB_DIGEST),
        ReleasedImage(CART, (), CART_DIGEST),
        ReleasedImage("docker.io/envoyproxy/envoy", ("v1.36.2",)),
    )


def test_a_pinned_reference_has_no_tag() -> None:
    assert ReleasedImage(WEB, ("1.2",), WEB_DIGEST).reference == f"{WEB}@{WEB_DIGEST}"
    assert ReleasedImage(WEB, ("1.2",)).reference == f"{WEB}:1.2"


def test_a_build_that_does_not_say_digests_means_its_tags() -> None:
    event = parse(build((f"{WEB}:1.2", ""), (f"{WEB}:latest", ""), (WEB, "")))
    assert isinstance(event, Release)
    assert [image.reference for image in event.images] == [f"{WEB}:1.2", f"{WEB}:latest"]


def test_a_registry_that_does_not_say_the_digest_means_the_tag() -> None:
    event = parse(registry(tag=f"{WEB}:1.2"))
    assert isinstance(event, Release)
    assert [image.reference for image in event.images] == [f"{WEB}:1.2"]


def test_a_task_request_goes_by_its_message_unless_it_names_a_key() -> None:
    event = parse(request())
    assert isinstance(event, TaskRequest)
    assert event.event_id == "1 now"


@pytest.mark.parametrize("state", ["QUEUED", "FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"])
def test_only_a_build_that_succeeded_counts(state: str) -> None:
    content = json.loads(build((f"{WEB}:1.2", WEB_DIGEST)).data) | {"status": state}
    assert isinstance(parse(Message("cloud-builds", json.dumps(content).encode())), Ignored)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Message("elsewhere", b"{}"), "no release events come from topic 'elsewhere'"),
        (Message("", b"{}"), "no release events come from topic ''"),
        (Message("gcr"), "there is no data"),
        (Message("gcr", b"\xff\xfe{"), "data is not text"),
        (Message("gcr", b"not json"), "data is not JSON: Expecting value"),
        (Message("gcr", b"[]"), "data: must be an object"),
        (Message("gcr", b"[" * 100_000), "data is nested too deeply"),
        (Message("gcr", b"9" * 5000), "data is not JSON: Exceeds the limit"),
        (Message("gcr", b"{}"), "action: must be INSERT or DELETE"),
        (registry(), "digest, tag: one of them is required"),
        (registry(digest=f"{WEB}:1.2"), "digest: must be a reference with a digest"),
        (registry(digest="https://example.com/x"), "digest: not a valid image reference"),
        (registry(digest=f"{WEB}@{WEB_DIGEST}", tag=f"{CART}:1.2"), "digest, tag: must be of the same repository"),
        (Message("gcr", b'{"action": "INSERT", "digest": 7}'), "digest: must be a string"),
        (Message("gcr", b'{"action": "INSERT", "tag": "a\\ud800"}'), "tag: must be a string of visible characters"),
        (Message("cloud-builds", b'{"id": "b"}'), "id, status: are required"),
        (Message("cloud-builds", b'{"id": "b", "status": ["SUCCESS"]}'), "status: must be a string"),
        (Message("cloud-builds", b'{"id": "b", "status": "SUCCESS", "results": 1}'), "results: must be an object"),
        (
            Message("cloud-builds", b'{"id": "b", "status": "SUCCESS", "results": {"images": {"a": 1}}}'),
            "results.images: must be a list",
        ),
        (
            Message("cloud-builds", b'{"id": "b", "status": "SUCCESS", "results": {"images": [1]}}'),
            "results.images[0]: must be an object",
        ),
        (build((f"{WEB}:1", WEB_DIGEST), ("a b", WEB_DIGEST)), "results.images[1].name: not a valid image reference"),
        (build((f"{WEB}:1", "sha256:short")), "results.images[0].digest: must be sha256:"),
        (Message("clouddeploy-operations"), "attributes ResourceType, Action: are required"),
        (
            Message("clouddeploy-operations", attributes={"ResourceType": "Release", "Action": "Succeed"}),
            "attribute Resource: must be the name of a release or a rollout",
        ),
        (request(images=[]), "images: "),
        (request(images=["a b"], batchSize=0, colour="red"), "images[0]: not a valid image reference"),
        (request(images=["a b"], batchSize=0, colour="red"), "batchSize: "),
        (request(images=["a b"], batchSize=0, colour="red"), "colour: "),
        (request(nodeSelector={"-bad": "x"}), "nodeSelector.-bad: "),
        (request(batch_size=3), "batch_size: "),
        (request(successThreshold=float("nan")), "successThreshold: "),
        (request({"idempotencyKey": "with space"}), "attribute idempotencyKey: must be 1 to 255"),
        (request({"idempotencyKey": ""}), "attribute idempotencyKey: must be 1 to 255"),
    ],
)
def test_what_is_malformed_is_named(message: Message, told: str) -> None:
    assert told in complaint(message)
    assert len(complaint(message)) < 2000


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "projects/p/locations/l/deliveryPipelines/d/releases/",
        "projects/p/locations/l/deliveryPipelines/d/releases/..",
        "projects/p/locations/l/deliveryPipelines/d/releases/r/../../../../../secrets/s",
        "projects/p/locations/l/deliveryPipelines/d/releases/r?alt=media",
        "projects/p/locations/l/deliveryPipelines/d/releases/r#",
        "projects/p/locations/l/deliveryPipelines/d/releases/r\n",
        "projects/p/locations/l/deliveryPipelines/d/releases/%2e%2e",
        "//evil.example/projects/p/locations/l/deliveryPipelines/d/releases/r",
        "projects/p@evil.example/locations/l/deliveryPipelines/d/releases/r",
    ],
)
def test_no_name_of_a_release_leads_elsewhere(resource: str) -> None:
    attributes = {"ResourceType": "Release", "Action": "Succeed", "Resource": resource}
    assert "attribute Resource" in complaint(Message("clouddeploy-operations", attributes=attributes))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([f"{WEB}@{WEB_DIGEST}", WEB]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["action", "digest", "tag", "id", "status", "results", "images", "name", "nodeSelector", "cluster"]
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["INSERT", "DELETE", 1]),
        "digest": JSON,
        "tag": JSON,
        "id": JSON,
        "status": st.sampled_from(["SUCCESS", "FAILURE", None]),
        "results": st.fixed_dictionaries({"images": JSON | st.lists(st.fixed_dictionaries({"name": JSON}))}) | JSON,
        "images": JSON,
    },
)
DATA = st.binary() | JSON.map(json.dumps).map(str.encode) | PLAUSIBLE.map(json.dumps).map(str.encode)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["ResourceType", "Action", "Resource", "idempotencyKey"]) | st.text(max_size=3),
    st.sampled_from(["Release", "Rollout", "Succeed", "Start", RELEASE_NAME]) | st.text(max_size=20),
    max_size=5,
)


@given(topic=st.sampled_from([*ReleaseTopic, "elsewhere"]), data=DATA, attributes=ATTRIBUTES)
@example(topic="cloud-builds", data=b'{"id": "\\ud800", "status": "SUCCESS"}', attributes={})
@example(topic="ips-releases", data=b'{"images": ["\\ud800"], "\\udc00": 1}', attributes={"idempotencyKey": "\ud800"})
def test_whatever_a_message_holds_is_an_event_or_malformed(topic: str, data: bytes, attributes: dict[str, Any]) -> None:
    try:
        event = parse_event(topic, data, attributes, "1 now")
    except MalformedMessage:
        return
    if isinstance(event, Release):
        assert event.images
        assert all(parse_image(image.reference) for image in event.images)
