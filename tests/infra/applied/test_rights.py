"""Everybody gets exactly the rights that functions.yaml and the topology ask for, and nobody else any."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from tests.infra.applied.conftest import Applied
from tests.infra.extract import ROOT
from tests.infra.module import needs, topology

AGENT = "Pub/Sub's agent"
PUSH = "push"
Grant = tuple[str, str, str]
"""Who may do what (a role) to which resource."""

PROJECT = "projects/acme-prewarm"


def granted(run: Applied) -> set[Grant]:
    """Every grant of a run, in our names."""
    return {_grant(run, address, each) for address, each in run.resources.items() if "_iam_member." in address}


def _grant(run: Applied, address: str, each: dict[str, Any]) -> Grant:
    who = _people(run).get(each["member"], each["member"])
    role = _roles(run).get(each["role"], each["role"])
    for condition in each.get("condition") or ():
        return who, role, condition["expression"]
    kind = address.partition(".")[0].removeprefix("google_").removesuffix("_iam_member")
    what = next(
        each[name]
        for name in ("topic", "subscription", "secret_id", "service_account_id", "name", "project")
        if each.get(name)
    )
    return who, role, f"{kind} {_things(run).get(what, what)}"


def _people(run: Applied) -> dict[str, str]:
    names = {
        each["member"]: each["account_id"].removeprefix("ips-") for each in run.of("google_service_account").values()
    }
    return names | {"serviceAccount:service-123456789@gcp-sa-pubsub.iam.gserviceaccount.com": AGENT}


def _roles(run: Applied) -> dict[str, str]:
    roles = run.of("google_project_iam_custom_role").values()
    return {each["name"]: "+".join(sorted(each["permissions"])) for each in roles}


def _things(run: Applied) -> dict[str, str]:
    return (
        {each["id"]: each["name"] for each in run.of("google_pubsub_topic").values()}
        | {each["name"]: each["account_id"].removeprefix("ips-") for each in run.of("google_service_account").values()}
        | {f"ips-{name}": name for name in topology().functions}
    )


def expected(
    *,
    callers: tuple[str, ...] = (),
    database: str = "(default)",
    secrets: Mapping[str, str] = MappingProxyType({}),
    deploy: tuple[str, ...] = (),
    clusters: tuple[str, ...] = ("acme-prod",),
) -> Iterator[Grant]:
    """What the files ask for."""
    connect = "container.clusters.connect+container.clusters.get"
    for name, wants in needs()["functions"].items():
        if wants["store"]:
            yield name, "roles/datastore.user", f'resource.name == "{PROJECT}/databases/{database}"'
        yield from ((name, "roles/pubsub.publisher", f"pubsub_topic {topic}") for topic in wants["publishes"])
        yield from (
            (name, "roles/secretmanager.secretAccessor", f"secret_manager_secret {secrets[each]}")
            for each in wants["secrets"]
            if each in secrets
        )
        yield from ((name, connect, f"project {each}") for each in clusters if wants["clusters"])
        yield from ((name, "roles/clouddeploy.viewer", f"project {each}") for each in deploy if wants["releases"])
    yield from _calls(callers)
    yield from _dead_letters()
    yield AGENT, "roles/iam.serviceAccountTokenCreator", f"service_account {PUSH}"
    for role in ("artifactregistry.writer", "logging.logWriter", "storage.objectViewer"):
        yield "build", f"roles/{role}", "project acme-prewarm"


def _calls(callers: tuple[str, ...]) -> Iterator[Grant]:
    for name, function in topology().functions.items():
        for who in (PUSH,) if function.trigger == "pubsub" else callers:
            yield who, "roles/run.invoker", f"cloud_run_v2_service {name}"


def _dead_letters() -> Iterator[Grant]:
    for subscription in topology().subscriptions:
        if subscription.dead_letter:
            yield AGENT, "roles/pubsub.publisher", f"pubsub_topic {subscription.dead_letter.topic}"
            yield AGENT, "roles/pubsub.subscriber", f"pubsub_subscription {subscription.name}"


@pytest.mark.parametrize(
    ("run", "asked"),
    [
        ("topology/applied", {"callers": ("group:release@example.com",)}),
        ("options/sizes", {}),
        (
            "options/secrets_are_references",
            {"secrets": {"IPS_API_KEYS": "ips-api-keys", "IPS_WEBHOOK_SECRETS": "ips-webhook-secrets"}},
        ),
        ("options/others_databases_clusters_and_topics_are_left_alone", {"database": "shared", "clusters": ()}),
        ("options/release_rules_reach_release_only", {"deploy": ("acme-prod",)}),
    ],
)
def test_grants_are_those_asked_for(runs: dict[str, Applied], run: str, asked: dict[str, Any]) -> None:
    assert granted(runs[run]) == set(expected(**asked))


def test_every_function_has_an_account_of_its_own_that_nothing_else_uses(runs: dict[str, Applied]) -> None:
    run = runs["topology/applied"]
    emails = [run.function(name)["service_account_email"] for name in topology().functions]
    others = [
        each["email"]
        for address, each in run.of("google_service_account").items()
        if not address.startswith("google_service_account.function[")
    ]
    assert len({*emails, *others}) == len(topology().functions) + 2


def test_the_output_binds_as_the_overlay_for_gke_does(runs: dict[str, Applied]) -> None:
    run = runs["topology/applied"]
    overlay = (ROOT / "deploy" / "k8s" / "overlays" / "gke" / "bindings.yaml").read_text("utf-8")
    names = {run.function(name)["service_account_email"]: f"ips-{name}@PROJECT" for name in topology().functions}

    def bindings(text: str) -> list[Any]:
        found = [each for each in yaml.safe_load_all(text) if each]
        for each in found:
            # GKE may know an account by its number as well.
            each["subjects"] = [
                subject | {"name": names.get(subject["name"], subject["name"])}
                for subject in each["subjects"]
                if "@" in subject["name"] or subject["name"] in names
            ]
        return sorted(found, key=lambda each: (each["kind"], each["metadata"]["name"]))

    assert bindings(run.outputs["kubernetes_bindings"]) == bindings(overlay)
