"""What IPS in a cluster needs on Google's side, as commands for `gcloud`: `python -m deploy.k8s.google --help`.

Topics, subscriptions, indexes and rights come from the files that Terraform reads where the functions are Google's too.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ips_common.topology import Subscription, Topology, load_topology

INFRA = Path(__file__).resolve().parents[2] / "infra"
NAMESPACE = "ips-system"

Command = Sequence[str]


def commands(project: str, number: str, location: str, pool: str) -> Iterator[Command]:
    """Return all commands, in an order in which they work.

    Args:
        project: the project's id.
        number: its number.
        location: of the database.
        pool: the workload identity pool that vouches for the cluster's service accounts: `PROJECT.svc.id.goog` of a GKE
            cluster, or the id of one with a provider for the cluster.
    """
    topology = load_topology(INFRA / "topology.yaml")
    yield "firestore", "databases", "create", f"--location={location}"
    yield from _indexes()
    for topic in topology.topics:
        yield "pubsub", "topics", "create", topic.name
    for subscription in topology.subscriptions:
        yield "pubsub", "subscriptions", "create", subscription.name, *_options(subscription)
    yield from _dead_letters(topology, f"serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com")
    yield from _rights(topology, project, lambda account: _member(number, pool, account))


def _member(number: str, pool: str, account: str) -> str:
    google = pool.endswith(".svc.id.goog")
    subject = f"ns/{NAMESPACE}/sa/{account}" if google else f"system:serviceaccount:{NAMESPACE}:{account}"
    return (
        f"principal://iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}"
        f"/subject/{subject}"
    )


def _options(subscription: Subscription) -> Iterator[str]:
    yield f"--topic={subscription.topic}"
    yield f"--ack-deadline={subscription.ack_deadline_seconds:g}"
    yield f"--message-retention-duration={subscription.retention_seconds:g}s"
    yield "--expiration-period=never"
    yield f"--min-retry-delay={subscription.retry.minimum_backoff_seconds:g}s"
    yield f"--max-retry-delay={subscription.retry.maximum_backoff_seconds:g}s"
    if subscription.dead_letter:
        yield f"--dead-letter-topic={subscription.dead_letter.topic}"
        yield f"--max-delivery-attempts={subscription.dead_letter.max_delivery_attempts}"


def _indexes() -> Iterator[Command]:
    declared: dict[str, Any] = json.loads((INFRA / "firestore.indexes.json").read_bytes())
    for index in declared["indexes"]:
        fields = [
            f"--field-config=field-path={field['fieldPath']},order={field['order'].lower()}"
            for field in index["fields"]
        ]
        group = f"--collection-group={index['collectionGroup']}"
        yield "firestore", "indexes", "composite", "create", "--async", group, *fields
    for field in declared["fieldOverrides"]:
        group = f"--collection-group={field['collectionGroup']}"
        yield "firestore", "indexes", "fields", "update", field["fieldPath"], "--async", group, "--disable-indexes"
        yield "firestore", "fields", "ttls", "update", field["fieldPath"], "--async", group, "--enable-ttl"


def _dead_letters(topology: Topology, agent: str) -> Iterator[Command]:
    """Pub/Sub itself moves dead letters, and needs the right to."""
    kept = [each for each in topology.subscriptions if each.dead_letter]
    for topic in sorted({each.dead_letter.topic for each in kept if each.dead_letter}):
        yield _allow("topics", topic, agent, "publisher")
    for each in kept:
        yield _allow("subscriptions", each.name, agent, "subscriber")


def _rights(topology: Topology, project: str, member: Callable[[str], str]) -> Iterator[Command]:
    needs: dict[str, Any] = yaml.safe_load((INFRA / "functions.yaml").read_text(encoding="utf-8"))["functions"]
    for name, need in needs.items():
        if need["store"]:
            yield (
                "projects",
                "add-iam-policy-binding",
                project,
                f"--member={member(name)}",
                "--role=roles/datastore.user",
                "--condition=None",
            )
        for topic in need["publishes"]:
            yield _allow("topics", topic, member(name), "publisher")
    for topic in sorted({schedule.topic for schedule in topology.schedules}):
        yield _allow("topics", topic, member("scheduler"), "publisher")
    for subscription in topology.subscriptions:
        yield _allow("subscriptions", subscription.name, member("bridge"), "subscriber")


def _allow(kind: str, name: str, member: str, role: str) -> Command:
    return "pubsub", kind, "add-iam-policy-binding", name, f"--member={member}", f"--role=roles/pubsub.{role}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and write the commands to standard output."""
    parser = argparse.ArgumentParser(prog="python -m deploy.k8s.google", description=__doc__)
    parser.add_argument("project", help="the project's id")
    parser.add_argument("number", help="the project's number")
    parser.add_argument("location", help="of the database, such as eur3")
    parser.add_argument("pool", help="the workload identity pool: PROJECT.svc.id.goog in GKE")
    given = parser.parse_args(arguments)
    for command in commands(given.project, given.number, given.location, given.pool):
        sys.stdout.write(shlex.join(["gcloud", *command, f"--project={given.project}"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
