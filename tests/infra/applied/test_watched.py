"""Alerts and charts look at metrics, labels and resources that are there."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.applied.conftest import Applied
from tests.infra.module import topology

RUN = "topology/applied"


@pytest.fixture
def run(runs: dict[str, Applied]) -> Applied:
    return runs[RUN]


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from texts(each)
        case list():
            for each in value:
                yield from texts(each)


@pytest.fixture
def queries(run: Applied) -> list[str]:
    """Every filter and query of alerts and dashboard."""
    (dashboard,) = run.of("google_monitoring_dashboard").values()
    sources = [*run.of("google_monitoring_alert_policy").values(), json.loads(dashboard["dashboard_json"])]
    return [text for text in texts(sources) if "resource.type" in text or "__name__" in text]


def test_log_metrics_that_are_queried_exist_and_all_are_queried(run: Applied, queries: list[str]) -> None:
    metrics = {each["name"] for each in run.of("google_logging_metric").values()}
    asked = {name for query in queries for name in re.findall(r"logging\.googleapis\.com/user/([\w-]+)", query)}
    assert asked == metrics


def test_labels_that_are_queried_exist(run: Applied, queries: list[str]) -> None:
    labels = {each["name"]: set(each["label_extractors"]) for each in run.of("google_logging_metric").values()}
    described = {
        each["name"]: {label["key"] for label in each["metric_descriptor"][0]["labels"]}
        for each in run.of("google_logging_metric").values()
    }
    assert labels == described
    for query in queries:
        for metric, conditions in re.findall(r"user/([\w-]+)\",\"monitored_resource\"=\"\w+\"([^}]*)", query):
            assert set(re.findall(r'"(\w+)"=', conditions)) <= labels[metric]
        grouped = re.match(r"sum by \((\w+)\) .*user/([\w-]+)", query)
        assert grouped is None or grouped[1] in labels[grouped[2]]


def test_services_and_subscriptions_that_are_queried_exist(run: Applied, queries: list[str]) -> None:
    services = {each["name"] for each in run.of("google_cloudfunctions2_function").values()}
    subscriptions = {each.name for each in topology().subscriptions}
    for query in queries:
        if "service_name" in query:
            named = re.findall(r"service_name ?= ?(.*?)(?: AND| metric| severity| jsonPayload|$)", query)
            assert {name for each in named for name in re.findall(r'"([^"]+)"', each)} <= services
        if "subscription_id" in query:
            named = re.findall(r"one_of\(([^)]*)\)", query)
            assert {name for each in named for name in re.findall(r'"([^"]+)"', each)} <= subscriptions


def test_every_alert_says_what_to_do_and_reaches_the_channels(runs: dict[str, Applied]) -> None:
    policies = runs["observed/alerts"].of("google_monitoring_alert_policy").values()
    assert len(policies) == 5
    for policy in policies:
        assert len(policy["documentation"][0]["content"]) > 80
        assert policy["notification_channels"] == ["projects/acme-prewarm/notificationChannels/1"]
        assert len(policy["conditions"]) == 1


def test_dead_letters_that_cannot_be_told_on_a_task_are_kept_for_somebody_to_look_at(run: Applied) -> None:
    topics = {each.dead_letter.topic for each in topology().subscriptions if each.dead_letter}
    kept = {each["name"]: each for each in run.of("google_pubsub_subscription.kept").values()}
    assert set(kept) == {f"{topic}-kept" for topic in topics}
    assert all(each["push_config"] == [] for each in kept.values())
