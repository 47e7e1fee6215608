"""Messages that can never work: tried as often as declared, then among the dead letters, and the task says so."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from deploy.local.emulator import PUBSUB
from deploy.local.stack import Stack
from ips_common.models.message import BatchMessage
from tests.chaos.inspector import Inspector
from tests.integration.access import Tasks, request, until

NODES = 3
ATTEMPTS = 5
SECRET = "planted-in-a-document"


class Land:
    """A stack, what is published to it, and what comes to lie among the dead letters."""

    def __init__(self, stack: Stack, emulators: Mapping[str, str]) -> None:
        self.stack = stack
        self.tasks = Tasks(stack)
        self.inspector = Inspector(stack, emulators["firestore"], emulators["pubsub"])
        self._pubsub = f"http://{stack.env[PUBSUB.variable]}/v1/projects/{stack.project}"
        self._graves = f"{self._pubsub}/subscriptions/graves"
        self._dead: list[Any] = []
        topic = f"projects/{stack.project}/topics/ips-dead-letters"
        assert request(self._graves, "PUT", {"topic": topic}).status == 200
        for name in ("ips-batches-push", "ips-notifications-push"):
            self._hurry(f"{self._pubsub}/subscriptions/{name}")

    def _hurry(self, url: str) -> None:
        """Have a subscription deliver every second, and less often than declared before it gives a message up."""
        found = request(url).body
        names = ("topic", "pushConfig", "ackDeadlineSeconds", "messageRetentionDuration")
        policy = found["deadLetterPolicy"] | {"maxDeliveryAttempts": ATTEMPTS}
        assert request(url, "DELETE").status == 200
        again = {name: found[name] for name in names} | {"deadLetterPolicy": policy}
        assert request(url, "PUT", again).status == 200

    def publish(self, topic: str, data: bytes, **attributes: str) -> str:
        """Publish a message; returns its id."""
        message = {"data": base64.b64encode(data).decode(), "attributes": attributes}
        answer = request(f"{self._pubsub}/topics/{topic}:publish", "POST", {"messages": [message]})
        assert answer.status == 200, answer
        return str(answer.body["messageIds"][0])

    def buried(self, data: bytes) -> Any:
        """Wait until a message is a dead letter; returns its attributes."""

        def look() -> Any:
            pulled = request(f"{self._graves}:pull", "POST", {"maxMessages": 100, "returnImmediately": True}).body
            self._dead += [received["message"] for received in pulled.get("receivedMessages", ())]
            found = (dead for dead in self._dead if base64.b64decode(dead.get("data", "")) == data)
            return next((dead["attributes"] for dead in found), None)

        return until(look, f"the dead letter {data[:80]!r}")

    def logged(self, function: str, sentence: str, **fields: object) -> list[Any]:
        """The entries of a function that say this."""
        lines = (line for line in self.stack.logs(function).splitlines() if line.startswith("{") and sentence in line)
        labelled = (entry | entry["logging.googleapis.com/labels"] for entry in map(json.loads, lines))
        return [entry for entry in labelled if fields.items() <= entry.items()]


@pytest.fixture(scope="module")
def land(emulators: dict[str, str], coverage_env: dict[str, str]) -> Iterator[Land]:
    with Stack(nodes=NODES, emulators=emulators, env=coverage_env) as stack:
        yield Land(stack, emulators)


@pytest.mark.parametrize(
    ("topic", "function", "data"),
    [
        # One at a time: the emulator stops pushing to a subscription of which several messages fail at once.
        ("ips-batches", "batch", b'{"kind": "batch", "taskId": "' + b"x" * 70_000 + b'", "attempt": 0, "batch": 1}'),
        ("ips-notifications", "notify", b"\xff\x00[[[["),
    ],
)
def test_what_cannot_be_read_ends_among_the_dead_letters_and_goes_no_further(
    land: Land, topic: str, function: str, data: bytes
) -> None:
    message_id = land.publish(topic, data, mark="undecodable")
    attributes = land.buried(data)
    assert attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == str(ATTEMPTS)
    assert attributes["CloudPubSubDeadLetterSourceSubscription"].endswith(f"{topic}-push")
    tried = land.logged(function, f"message {message_id}")
    assert [entry["message"] for entry in tried] == [
        "message cannot be read and is left to the dead letters"
    ] * ATTEMPTS
    assert all(entry["severity"] == "ERROR" and len(entry["error"]) < 1000 for entry in tried)
    # The tracker, which is told of all dead letters, drops each once: there is nowhere for them to go.
    before = len(land.logged("tracker", "is dropped"))
    again = land.tasks.create(f"registry.example/poison/{function}:1")
    assert land.tasks.finished(again["taskId"])["status"] == "completed"
    assert len(land.logged("tracker", "is dropped")) <= before + 1


def test_what_cannot_be_read_and_has_no_dead_letters_is_dropped_at_once(land: Land) -> None:
    message_id = land.publish("ips-tracker", b"{")
    until(lambda: land.logged("tracker", f"message {message_id}"), "the tracker has seen it")
    task = land.tasks.create("registry.example/poison/after:1")
    assert land.tasks.finished(task["taskId"])["status"] == "completed"
    (entry,) = land.logged("tracker", f"message {message_id}")
    assert entry["message"] == "message cannot be read and is dropped"


def test_a_batch_of_a_task_that_nobody_knows_ends_among_the_dead_letters(land: Land) -> None:
    message = BatchMessage(task_id="task-unknown", attempt=0, batch=1)
    land.publish("ips-batches", message.model_dump_json(by_alias=True).encode())
    attributes = land.buried(message.model_dump_json(by_alias=True).encode())
    assert attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == str(ATTEMPTS)
    assert (
        len(land.logged("batch", "cannot be handled and is left to the dead letters", taskId="task-unknown"))
        == ATTEMPTS
    )
    until(lambda: land.logged("tracker", "dead letter of a task that does not exist"), "the tracker has seen it")


def test_a_task_whose_document_is_spoilt_stops_nobody_else(land: Land) -> None:
    spoilt = "task-spoilt"
    document = {
        "taskId": spoilt,
        "spec": {"webhookUrl": f"https://user:{SECRET}@hooks.example/", "images": 7},
        "status": "running",
        "openIn": "default",
        "queueKey": "default/0",
        "createdAt": land.inspector.store.list_tasks(limit=1).tasks[0].created_at,
    }
    land.inspector.client.document(f"tasks/{spoilt}").set(document)
    message = BatchMessage(task_id=spoilt, attempt=0, batch=1).model_dump_json(by_alias=True).encode()
    land.publish("ips-batches", message)
    task = land.tasks.create("registry.example/poison/beside:1")
    assert land.tasks.finished(task["taskId"])["status"] == "completed"

    land.buried(message)
    until(lambda: land.logged("tracker", "is dropped", taskId=spoilt), "the tracker has seen the dead letter")
    url = f"{land.stack.api_url}/api/v1/tasks"
    listed = request(f"{url}?limit=100")
    assert listed.status == 200
    assert task["taskId"] in {one["taskId"] for one in listed.body["tasks"]}
    answer = request(f"{url}/{spoilt}")
    assert (answer.status, answer.body["code"]) == (500, "unreadable-document")
    for function in ("api", "batch", "tracker"):
        assert f"tasks/{spoilt} cannot be read" in land.stack.logs(function)
        assert SECRET not in land.stack.logs(function)
    land.inspector.client.document(f"tasks/{spoilt}").delete()


def test_a_task_whose_nodes_are_spoilt_fails_and_says_so(land: Land) -> None:
    task_id = land.tasks.create("registry.example/poison/nodes/slow9:1", batchSize=1)["taskId"]
    until(lambda: land.inspector.kube.jobs(task_id), "the task has begun")
    land.inspector.client.document(f"tasks/{task_id}/shards/0-00000").update({"facts": SECRET})
    # The next tracker has nothing but the documents to go by.
    land.stack.kill("tracker")
    land.stack.start("tracker")
    done = land.tasks.finished(task_id)
    assert done["status"] == "failed"
    assert done["errorMessage"].startswith(f"tasks/{task_id}/shards/0-00000 cannot be read")
    until(lambda: not _slots(land), "its slot is free")


def test_a_batch_that_can_never_be_created_is_told_by_the_task(land: Land) -> None:
    # The batch function of this stack is replaced by one that was deployed without the cluster.
    (part,) = [part for name, part in land.stack._supervisor.parts.items() if name == "batch"]
    before = part.process._env["IPS_CLUSTERS"]
    part.process._env["IPS_CLUSTERS"] = before.replace('"default"', '"another"')
    land.stack.kill("batch")
    land.stack.start("batch")
    try:
        done = land.tasks.finished(land.tasks.create("registry.example/poison/never:1")["taskId"])
    finally:
        part.process._env["IPS_CLUSTERS"] = before
        land.stack.kill("batch")
        land.stack.start("batch")
    assert (done["status"], done["failedNodeCount"]) == ("failed", NODES)
    assert {detail["reason"] for detail in done["failedNodeDetails"]} == {"JobCreateFailed"}
    assert f"could not be created in {ATTEMPTS} attempts" in done["failedNodeDetails"][0]["message"]
    until(lambda: not _slots(land), "its slot is free")


def _slots(land: Land) -> Any:
    document = land.inspector.client.document("clusters/default").get().to_dict() or {}
    return document.get("running")
