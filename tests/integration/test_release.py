"""Release events on the real parts, published to their topics as those publish them who announce releases."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.emulator import PUBSUB
from deploy.local.parts import ROOT
from deploy.local.stack import Stack
from tests.integration.access import Tasks, request, until
from tests.unit.cluster_adapter.google import Google, google
from tests.unit.release.events import (
    CART,
    CART_DIGEST,
    HELLO,
    RELEASE_NAME,
    WEB,
    WEB_DIGEST,
    Message,
    build,
    recorded,
    registry,
    release_answer,
)
from tests.unit.release.events import request as task_request

RULES = [
    {
        "name": "shop",
        "images": ["us-docker.pkg.dev/my-project/shop/*"],
        "batchSize": 2,
        "nodeSelector": {"pool": "cpu"},
    },
    {"name": "hello", "images": [f"{HELLO}:1.*"], "priority": 9},
]
ATTEMPTS = 5
PINNED = f"{WEB}@{WEB_DIGEST}"


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own, with less patience for what cannot be handled."""
    content = yaml.safe_load((ROOT / "infra" / "topology.yaml").read_text())
    for subscription in content["subscriptions"]:
        if subscription["function"] == "release":
            subscription["retry"] = {"minimumBackoffSeconds": 1, "maximumBackoffSeconds": 1}
            subscription["deadLetter"]["maxDeliveryAttempts"] = ATTEMPTS
    path = tmp_path_factory.mktemp("topology") / "topology.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def cloud() -> Iterator[Google]:
    with google() as running:
        running.knows(RELEASE_NAME, release_answer())
        yield running


@pytest.fixture(scope="module")
def stack(
    topology: Path,
    cloud: Google,
    emulators: dict[str, str],
    coverage_env: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    deploy = {"IPS_CLOUD_DEPLOY_API_URL": cloud.api.url, **cloud.environment(tmp_path_factory.mktemp("gcloud"))}
    with Stack(
        nodes=4,
        topology=topology,
        emulators=emulators,
        env={**coverage_env, "IPS_RELEASE_RULES": json.dumps(RULES)},
        function_env={"release": deploy},
    ) as running:
        yield running


class Releases:
    """The topics, and the tasks that come of what is published to them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._pubsub = f"http://{stack.env[PUBSUB.variable]}/v1/projects/{stack.project}"
        self._graves = f"{self._pubsub}/subscriptions/graves"
        self._dead: list[Any] = []
        self.tasks = Tasks(stack)
        # What an earlier test announced is known for a day.
        self._before = {task["taskId"] for task in self._all()}

    def publish(self, message: Message) -> str:
        """Publish a message; returns its id."""
        body: dict[str, Any] = {"attributes": dict(message.attributes)}
        if message.data:
            body["data"] = base64.b64encode(message.data).decode()
        answer = request(f"{self._pubsub}/topics/{message.topic}:publish", "POST", {"messages": [body]})
        assert answer.status == 200, answer
        return str(answer.body["messageIds"][0])

    def made(self) -> list[Any]:
        """The tasks of this test, oldest first."""
        return [task for task in reversed(self._all()) if task["taskId"] not in self._before]

    def of(self, image: str, count: int = 1) -> list[Any]:
        """Wait for the tasks of an image."""

        def look() -> list[Any] | None:
            found = [task for task in self.made() if task["images"] == [image]]
            return found if len(found) >= count else None

        return until(look, f"{count} tasks of {image}")

    def logged(self, part: str, sentence: str, message_id: str) -> list[Any]:
        """The entries of a function that say this of a message."""
        lines = (line for line in self.stack.logs(part).splitlines() if line.startswith("{") and sentence in line)
        return [entry for entry in map(json.loads, lines) if entry["messageId"] == message_id]

    def handled(self, message_id: str, sentence: str) -> Any:
        """Wait until the function says this of a message."""
        return until(lambda: self.logged("release", sentence, message_id), f"{sentence}: {message_id}")[0]

    def watch_graves(self) -> None:
        """Keep what goes to the dead letters from now on."""
        topic = f"projects/{self.stack.project}/topics/ips-dead-letters"
        assert request(self._graves, "PUT", {"topic": topic}).status == 200

    def buried(self, message: Message) -> Any:
        """Wait for a dead letter; returns its attributes."""

        def look() -> Any:
            pulled = request(f"{self._graves}:pull", "POST", {"maxMessages": 100, "returnImmediately": True}).body
            for received in pulled.get("receivedMessages", ()):
                request(f"{self._graves}:acknowledge", "POST", {"ackIds": [received["ackId"]]})
                self._dead.append(received["message"])
            for dead in self._dead:
                attributes = dead.get("attributes", {})
                same_data = base64.b64decode(dead.get("data", "")) == message.data
                if same_data and message.attributes.items() <= attributes.items():
                    return attributes
            return None

        return until(look, "the dead letter")

    def _all(self) -> list[Any]:
        return list(request(f"{self.stack.api_url}/api/v1/tasks?limit=100").body["tasks"])


@pytest.fixture
def releases(stack: Stack) -> Releases:
    return Releases(stack)


def test_a_push_to_the_registry_is_on_the_nodes_soon(releases: Releases) -> None:
    releases.publish(registry(digest=PINNED))
    releases.publish(registry(digest=PINNED, tag=f"{WEB}:1.2"))
    (task,) = releases.of(PINNED)
    done = releases.tasks.finished(task["taskId"])
    assert (done["status"], done["createdBy"], done["batchSize"], done["nodeSelector"]) == (
        "completed",
        "release:shop",
        2,
        {"pool": "cpu"},
    )
    assert done["imageDigests"][PINNED] == {WEB_DIGEST: done["progress"]["totalNodes"]}
    # The build and the deployment of it are no news.
    message_id = releases.publish(build((f"{WEB}:1.2", WEB_DIGEST)))
    releases.handled(message_id, "task was made before")
    assert len(releases.made()) == 1


def test_a_build_of_several_images_makes_a_task_for_each(releases: Releases) -> None:
    digests = {f"{WEB}-{name}": "sha256:" + name * 64 for name in "abc"}
    releases.publish(build(*((f"{name}:1", digest) for name, digest in digests.items())))
    for name, digest in digests.items():
        (task,) = releases.of(f"{name}@{digest}")
        assert releases.tasks.finished(task["taskId"])["status"] == "completed"


def test_a_release_of_cloud_deploy_is_looked_up_with_the_functions_own_token(releases: Releases, cloud: Google) -> None:
    # The emulator delivers empty data where the service delivers none: see test_a_message_without_data.
    releases.publish(recorded("cloud-deploy-release-rendered"))
    (task,) = releases.of(f"{CART}@{CART_DIGEST}")
    assert releases.tasks.finished(task["taskId"])["status"] == "completed"
    (asked,) = cloud.lookups(RELEASE_NAME)
    assert asked.headers["Authorization"] == f"Bearer {cloud.token}"


def test_a_message_without_data_is_taken_by_the_function_behind_its_framework(releases: Releases) -> None:
    message = recorded("cloud-deploy-job-terminated")
    answer = request(f"{releases.stack.url('release')}{message.path}", "POST", message.push("no-data"))
    assert answer.status == 204
    assert releases.handled("no-data", "release event means no image")["reason"] == "'JobRun' 'Terminated'"


def test_a_rule_for_tags_waits_for_the_tag(releases: Releases) -> None:
    first = releases.publish(recorded("artifact-registry-digest"))
    releases.handled(first, "no rule matches the release")
    releases.publish(recorded("artifact-registry-tag"))
    (task,) = releases.of(f"{HELLO}@{WEB_DIGEST}")
    assert (task["createdBy"], task["priority"]) == ("release:hello", 9)


def test_a_task_request_is_done_once_for_its_key(releases: Releases) -> None:
    message = task_request({"idempotencyKey": "integration", "requestId": "ci-1"}, images=["registry.example/own:1"])
    releases.publish(message)
    (task,) = releases.of("registry.example/own:1")
    releases.handled(releases.publish(message), "task was made before")
    assert releases.tasks.finished(task["taskId"])["status"] == "completed"
    assert len(releases.made()) == 1


def test_what_is_malformed_ends_among_the_dead_letters(releases: Releases) -> None:
    malformed = [
        (Message("gcr", b"not json"), "data is not JSON"),
        (Message("cloud-builds", b'{"status": "SUCCESS"}'), "id, status: are required"),
        (task_request(images=["a b"], batchSize=0), "images[0]: not a valid image reference"),
        (Message("clouddeploy-operations", attributes={"Action": "Succeed"}), "attributes ResourceType, Action"),
    ]
    releases.watch_graves()
    published = [(releases.publish(message), message, told) for message, told in malformed]
    for message_id, message, told in published:
        attributes = releases.buried(message)
        assert attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == str(ATTEMPTS)
        tried = releases.logged("release", "message cannot be read and is left to the dead letters", message_id)
        assert len(tried) == ATTEMPTS
        assert all(entry["severity"] == "ERROR" and told in entry["error"] for entry in tried)
    assert releases.made() == []


def test_a_function_that_was_away_makes_up_for_what_it_missed(stack: Stack, releases: Releases) -> None:
    stack.kill("release")
    image = f"{WEB}-late@sha256:{'d' * 64}"
    releases.publish(registry(digest=image))
    stack.start("release")
    (task,) = releases.of(image)
    assert releases.tasks.finished(task["taskId"])["status"] == "completed"
