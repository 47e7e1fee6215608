"""The commands for Google's side make what the topology and the functions' rights say, for accounts that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.k8s.google import commands, main
from ips_common.topology import load_topology
from tests.deploy.kustomize import build, of_kind

INFRA = Path(__file__).parents[2] / "infra"
TOPOLOGY = load_topology(INFRA / "topology.yaml")
NEEDS: dict[str, Any] = yaml.safe_load((INFRA / "functions.yaml").read_text(encoding="utf-8"))["functions"]


def made(*start: str, pool: str = "cluster") -> list[list[str]]:
    """The rest of all commands that begin like this."""
    found = (list(command) for command in commands("acme", "42", "eur3", pool))
    return [command[len(start) :] for command in found if command[: len(start)] == list(start)]


def test_topics_and_subscriptions_are_those_of_the_topology() -> None:
    assert [topic for (topic,) in made("pubsub", "topics", "create")] == [topic.name for topic in TOPOLOGY.topics]
    subscriptions = {name: options for name, *options in made("pubsub", "subscriptions", "create")}
    for each in TOPOLOGY.subscriptions:
        options = subscriptions.pop(each.name)
        assert f"--topic={each.topic}" in options
        assert f"--ack-deadline={each.ack_deadline_seconds:g}" in options
        kept = [f"--dead-letter-topic={each.dead_letter.topic}"] if each.dead_letter else []
        assert [option for option in options if option.startswith("--dead-letter-topic")] == kept
        assert not any("push" in option for option in options)
    assert subscriptions == {}


@pytest.mark.parametrize(
    ("pool", "subject"),
    [("cluster", "system:serviceaccount:ips-system:{}"), ("acme.svc.id.goog", "ns/ips-system/sa/{}")],
)
def test_every_account_may_publish_what_its_function_does(pool: str, subject: str) -> None:
    allowed: dict[str, set[str]] = {}
    prefix = f"principal://iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/{pool}/subject/"
    for topic, member, role in made("pubsub", "topics", "add-iam-policy-binding", pool=pool):
        assert role == "--role=roles/pubsub.publisher"
        allowed.setdefault(member.removeprefix("--member="), set()).add(topic)
    assert allowed.pop("serviceAccount:service-42@gcp-sa-pubsub.iam.gserviceaccount.com") == {"ips-dead-letters"}
    wanted = {name: set(need["publishes"]) for name, need in NEEDS.items() if need["publishes"]}
    wanted["scheduler"] = {schedule.topic for schedule in TOPOLOGY.schedules}
    assert allowed == {prefix + subject.format(name): topics for name, topics in wanted.items()}


def test_the_accounts_are_the_deployment_s() -> None:
    accounts = {obj["metadata"]["name"] for obj in of_kind(build("overlays/in-cluster"), "ServiceAccount")}
    members = re.findall(r"serviceaccount:ips-system:(\w+)", str(list(commands("acme", "42", "eur3", "cluster"))))
    assert set(members) == accounts - {"ips-orphans"}


def test_they_are_printed_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acme", "42", "eur3", "acme.svc.id.goog"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(commands("acme", "42", "eur3", "acme.svc.id.goog")))
    assert all(line.startswith("gcloud ") and line.endswith(" --project=acme") for line in lines)
