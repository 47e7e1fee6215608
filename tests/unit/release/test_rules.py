"""Which rules an image meets, and which task that makes."""

from typing import Any

import pytest
from pydantic import ValidationError

from ips_common.models.release import Release, ReleasedImage, ReleaseTopic, TaskRequest
from ips_common.models.task import TaskSpec
from ips_common.rules import Order, ReleaseRule, check_pattern, check_rules, order, orders

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
WEB = "us-docker.pkg.dev/acme/shop/web"


def rule(*images: str, name: str = "shop", **fields: Any) -> ReleaseRule:
    return ReleaseRule.model_validate({"name": name, "images": list(images) or ["**"], **fields})


def release(*images: ReleasedImage, event_id: str = "1", topic: ReleaseTopic = ReleaseTopic.CLOUD_BUILD) -> Release:
    return Release(topic, event_id, images)


def keys(*made: Order) -> set[str]:
    return {each.key.key for each in made}


@pytest.mark.parametrize(
    ("pattern", "name", "tags", "matches"),
    [
        (WEB, WEB, (), True),
        (WEB, WEB, ("v1",), True),
        (WEB, f"{WEB}2", (), False),
        ("us-docker.pkg.dev/acme/shop/*", WEB, (), True),
        ("us-docker.pkg.dev/acme/*", WEB, (), False),
        ("us-docker.pkg.dev/acme/**", WEB, (), True),
        ("us-docker.pkg.dev/**/web", WEB, (), True),
        ("*.pkg.dev/acme/shop/web", WEB, (), True),
        ("*/web", WEB, (), False),
        ("us-docker.pkg.dev/acme/shop/we?", WEB, (), True),
        ("us-docker.pkg.dev/acme/shop?web", WEB, (), False),
        ("**", WEB, ("v1",), True),
        ("**:v*", WEB, ("v1",), True),
        ("**:v*", WEB, (), False),
        ("**:v*", WEB, ("latest", "v1"), True),
        (f"{WEB}:v?", WEB, ("v10",), False),
        (f"{WEB}:*", WEB, ("latest",), True),
        ("us-dockerXpkg.dev/acme/shop/web", WEB, (), False),
        ("us-docker.pkg.dev/acme/shop/w.b", WEB, (), False),
        ("localhost:5000/web", "localhost:5000/web", (), True),
        ("localhost:5000/web:v1", "localhost:5000/web", ("v1",), True),
        ("docker.io/library/*", "docker.io/library/nginx", ("1.27",), True),
        ("[::1]:5000/web", "[::1]:5000/web", (), True),
    ],
)
def test_patterns_match_names_and_tags(pattern: str, name: str, tags: tuple[str, ...], matches: bool) -> None:  # noqa: FBT001
    assert rule(pattern).matches(ReleasedImage(name, tags, DIGEST)) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "nginx",
        "library/nginx",
        "*",
        "gcr.io",
        "gcr.io/",
        "gcr.io/a b",
        f"{WEB}@{DIGEST}",
        f"{WEB}:",
        "a|b.io/x",
        "(gcr.io/x",
    ],
)
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_pattern(pattern)
    with pytest.raises(ValidationError):
        rule(pattern)


def test_a_rule_gives_its_task_every_field() -> None:
    fields: dict[str, Any] = {
        "cluster": "prod",
        "nodeSelector": {"pool": "web"},
        "batchSize": 20,
        "priority": 8,
        "maxConcurrentBatches": 3,
        "maxRetries": 2,
        "retryPolicy": "linear",
        "retryDelaySeconds": 5,
        "timeoutSeconds": 60,
        "successThreshold": 0.5,
        "failFast": True,
        "pullPolicy": "Always",
        "skipPresent": False,
        "mode": "daemonset",
        "pullStrategy": "imageVolume",
        "imagePullSecrets": ["registry"],
        "webhookUrl": "https://hooks.example/x",
    }
    assert set(fields) == {field.alias for field in TaskSpec.model_fields.values()} - {"images"}
    task = rule(**fields).task(ReleasedImage(WEB, ("v1",), DIGEST))
    assert task == TaskSpec.model_validate({"images": [f"{WEB}@{DIGEST}"], **fields})
    assert type(task) is TaskSpec


def test_what_a_rule_leaves_out_has_the_default_of_a_request() -> None:
    assert rule().task(ReleasedImage(WEB, ("v1",))) == TaskSpec(images=(f"{WEB}:v1",))


@pytest.mark.parametrize(
    "fields",
    [
        {"batchSize": 0},
        {"nodeSelector": {"-": "x"}},
        {"colour": "red"},
        {"images": []},
        {"name": "Not A Name"},
        {"name": ""},
    ],
)
def test_a_rule_is_held_to_the_same_rules_as_a_request(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rule(**{"images": ["**"], **fields})


def test_every_rule_that_matches_makes_a_task_for_every_image() -> None:
    rules = [rule(f"{WEB}*", name="all", cluster="east"), rule(WEB, name="web"), rule("gcr.io/x/y", name="none")]
    made = orders(rules, release(ReleasedImage(WEB, (), DIGEST), ReleasedImage(f"{WEB}2", (), OTHER)))
    assert [(each.created_by, each.spec.images, each.spec.cluster) for each in made] == [
        ("release:all", (f"{WEB}@{DIGEST}",), "east"),
        ("release:web", (f"{WEB}@{DIGEST}",), "default"),
        ("release:all", (f"{WEB}2@{OTHER}",), "east"),
    ]
    assert len(keys(*made)) == 3


def test_the_same_digest_has_the_same_key_whoever_announces_it_and_how() -> None:
    image = ReleasedImage(WEB, (), DIGEST)
    tagged = ReleasedImage(WEB, ("v1", "latest"), DIGEST)
    found = [
        orders([rule()], release(image, event_id="1", topic=ReleaseTopic.ARTIFACT_REGISTRY)),
        orders([rule()], release(tagged, event_id="2", topic=ReleaseTopic.ARTIFACT_REGISTRY)),
        orders([rule()], release(tagged, event_id="build")),
        orders([rule()], release(tagged, ReleasedImage(WEB, (), OTHER), event_id="r", topic=ReleaseTopic.CLOUD_DEPLOY))[
            :1
        ],
        orders([rule(batchSize=3)], release(image)),
    ]
    assert len(keys(*(each for made in found for each in made))) == 1
    assert len({each.key.fingerprint for made in found for each in made}) == 1


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("other", ReleasedImage(WEB, (), DIGEST)),
        ("shop", ReleasedImage(WEB, (), OTHER)),
        ("shop", ReleasedImage(f"{WEB}2", (), DIGEST)),
    ],
)
def test_another_rule_digest_or_repository_has_another_key(name: str, image: ReleasedImage) -> None:
    first = orders([rule()], release(ReleasedImage(WEB, (), DIGEST)))
    assert not keys(*first) & keys(*orders([rule(name=name)], release(image)))


def test_without_a_digest_each_event_counts_for_itself() -> None:
    image = ReleasedImage(WEB, ("latest",))
    first, again, later = (orders([rule()], release(image, event_id=event)) for event in ("1 a", "1 a", "1 b"))
    assert keys(*first) == keys(*again) != keys(*later)


def test_a_request_is_told_from_another_by_its_content() -> None:
    spec, other = TaskSpec(images=("nginx",)), TaskSpec(images=("nginx",), batch_size=3)
    first, changed = order(TaskRequest(spec, "key k")), order(TaskRequest(other, "key k"))
    assert first.key.key == changed.key.key
    assert first.key.fingerprint != changed.key.fingerprint
    assert first.key.key != order(TaskRequest(spec, "1 now")).key.key


def test_no_caller_of_the_api_can_have_a_key_of_ours() -> None:
    # A caller's key begins with the caller's name or with a visible character.
    made = [
        order(TaskRequest(TaskSpec(images=("nginx",)), "1")),
        *orders([rule()], release(ReleasedImage(WEB, ("v",)))),
    ]
    assert all(key.startswith("\n") for key in keys(*made))


def test_rules_have_names_of_their_own_and_clusters_that_exist() -> None:
    check_rules([rule(name="a"), rule(name="b", cluster="east")], ["default", "east"])
    with pytest.raises(ValueError, match="the name a is there twice"):
        check_rules([rule(name="a"), rule(name="a")], ["default"])
    with pytest.raises(ValueError, match="b: cluster east is not configured; there are: default, west"):
        check_rules([rule(name="b", cluster="east")], ["default", "west"])
