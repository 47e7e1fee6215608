from pathlib import Path
from typing import Any

import pytest
import yaml

from ips_common.topology import TopologyError, load_topology

ROOT = Path(__file__).resolve().parents[3]
FUNCTION = {
    "timeoutSeconds": 60,
    "memoryMiB": 512,
    "concurrency": 8,
    "minInstances": 0,
    "maxInstances": 1,
}


def topology(**changes: Any) -> dict[str, Any]:
    return {
        "functions": {"api": {"trigger": "http", **FUNCTION}, "work": {"trigger": "pubsub", **FUNCTION}},
        "topics": [{"name": "jobs"}],
        "subscriptions": [subscription()],
        "schedules": [{"name": "minute", "schedule": "* * * * *", "topic": "jobs", "message": {"kind": "tick"}}],
    } | changes


def subscription(**changes: Any) -> dict[str, Any]:
    return {
        "name": "jobs-push",
        "topic": "jobs",
        "function": "work",
        "ackDeadlineSeconds": 60,
        "retentionSeconds": 600,
        "retry": {"minimumBackoffSeconds": 1, "maximumBackoffSeconds": 10},
    } | changes


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_projects_own_file_holds_together() -> None:
    own = load_topology(ROOT / "infra" / "topology.yaml")
    assert own.functions["api"].trigger == "http"
    assert own.subscriptions
    assert all(subscription.function in own.functions for subscription in own.subscriptions)


def test_fields_are_read_under_the_files_names(tmp_path: Path) -> None:
    read = load_topology(written(tmp_path, topology()))
    assert read.functions["api"].memory_mi_b == 512
    assert read.subscriptions[0].retry.maximum_backoff_seconds == 10
    assert read.subscriptions[0].dead_letter is None
    assert read.schedules[0].message == {"kind": "tick"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subscriptions": [subscription(topic="nowhere")]}, "jobs-push: no topic nowhere"),
        ({"subscriptions": [subscription(function="nobody")]}, "jobs-push: no function nobody"),
        ({"subscriptions": [subscription(function="api")]}, "jobs-push: api is not triggered by pubsub"),
        (
            {"subscriptions": [subscription(deadLetter={"topic": "grave", "maxDeliveryAttempts": 5})]},
            "jobs-push: no topic grave",
        ),
        ({"subscriptions": [subscription(), subscription()]}, "subscription jobs-push is there twice"),
        ({"topics": [{"name": "jobs"}, {"name": "jobs"}]}, "topic jobs is there twice"),
        ({"subscriptions": [subscription(ackDeadlineSeconds=601)]}, "subscriptions.0.ackDeadlineSeconds"),
        ({"subscriptions": [subscription(color="red")]}, "subscriptions.0.color"),
        ({"functions": {"api": {"trigger": "carrier pigeon", **FUNCTION}}}, "functions.api.trigger"),
        (
            {"schedules": [{"name": "m", "schedule": "* * * * *", "topic": "nowhere", "message": {}}]},
            "m: no topic nowhere",
        ),
    ],
)
def test_what_does_not_hold_together_is_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(TopologyError) as caught:
        load_topology(written(tmp_path, topology(**changes)))
    assert told in str(caught.value)


def test_every_contradiction_is_told_at_once(tmp_path: Path) -> None:
    content = topology(subscriptions=[subscription(topic="nowhere", function="nobody")])
    with pytest.raises(TopologyError, match="no topic nowhere; jobs-push: no function nobody"):
        load_topology(written(tmp_path, content))


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"none\.yaml cannot be read: No such file"):
        load_topology(tmp_path / "none.yaml")


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "topology.yaml"
    path.write_text("functions: [\n")
    with pytest.raises(TopologyError, match="is not valid YAML") as caught:
        load_topology(path)
    assert "\n" not in str(caught.value)
