"""Values that only the provider would refuse are among those that Google documents."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.applied.conftest import Applied

ALIGNERS = {"ALIGN_DELTA", "ALIGN_RATE", "ALIGN_MAX"}
REDUCERS = {"REDUCE_SUM", "REDUCE_MAX", "REDUCE_PERCENTILE_95", "REDUCE_PERCENTILE_99"}
DOCUMENTED: dict[str, set[str]] = {
    "google_cloudfunctions2_function ingress_settings": {
        "ALLOW_ALL",
        "ALLOW_INTERNAL_ONLY",
        "ALLOW_INTERNAL_AND_GCLB",
    },
    "google_cloudfunctions2_function direct_vpc_egress": {"VPC_EGRESS_ALL_TRAFFIC", "VPC_EGRESS_PRIVATE_RANGES_ONLY"},
    "google_firestore_database type": {"FIRESTORE_NATIVE", "DATASTORE_MODE"},
    "google_firestore_database concurrency_mode": {
        "OPTIMISTIC",
        "PESSIMISTIC",
        "OPTIMISTIC_WITH_ENTITY_GROUPS",
    },
    "google_firestore_database point_in_time_recovery_enablement": {
        "POINT_IN_TIME_RECOVERY_ENABLED",
        "POINT_IN_TIME_RECOVERY_DISABLED",
    },
    "google_firestore_database delete_protection_state": {"DELETE_PROTECTION_ENABLED", "DELETE_PROTECTION_DISABLED"},
    "google_firestore_database deletion_policy": {"ABANDON", "DELETE"},
    "google_firestore_index query_scope": {"COLLECTION", "COLLECTION_GROUP", "COLLECTION_RECURSIVE"},
    "google_firestore_index order": {"ASCENDING", "DESCENDING"},
    "google_firestore_index array_config": {"CONTAINS"},
    "google_storage_bucket public_access_prevention": {"enforced", "inherited"},
    "google_logging_metric metric_kind": {"DELTA", "GAUGE", "CUMULATIVE"},
    "google_logging_metric value_type": {"BOOL", "INT64", "DOUBLE", "STRING", "DISTRIBUTION", "MONEY"},
    "google_monitoring_alert_policy combiner": {"AND", "OR", "AND_WITH_MATCHING_RESOURCE"},
    "google_monitoring_alert_policy severity": {"CRITICAL", "ERROR", "WARNING"},
    "google_monitoring_alert_policy comparison": {"COMPARISON_GT", "COMPARISON_LT"},
    "google_monitoring_alert_policy per_series_aligner": ALIGNERS,
    "google_monitoring_alert_policy cross_series_reducer": REDUCERS,
    "google_monitoring_alert_policy mime_type": {"text/markdown"},
}


MADE_UP = re.compile(r"(?!enforced)[a-z0-9]{8}")
"""What Terraform's mock gives for values that Google would decide."""


def found(value: Any) -> Iterator[tuple[str, str]]:
    """Every text in a resource's values, by the name of its argument."""
    match value:
        case dict():
            for name, each in value.items():
                if isinstance(each, str) and each and not MADE_UP.fullmatch(each):
                    yield name, each
                yield from found(each)
        case list():
            for each in value:
                yield from found(each)


@pytest.mark.parametrize("argument", DOCUMENTED)
def test_is_documented(runs: dict[str, Applied], argument: str) -> None:
    kind, name = argument.split()
    values = {
        value
        for run in runs.values()
        for address, each in run.resources.items()
        if address.startswith(f"{kind}.")
        for key, value in found(each)
        if key == name
    }
    # No array is searched; a database's deletion is its own affair where others made it.
    assert values or name == "array_config"
    assert values <= DOCUMENTED[argument]


def test_no_other_argument_holds_what_looks_like_one_of_a_few_values(runs: dict[str, Applied]) -> None:
    looks = {
        f"{address.partition('.')[0]} {key}"
        for run in runs.values()
        for address, each in run.resources.items()
        for key, value in found(each)
        if value.isupper() and len(value) > 2 and "IPS_" not in key + value
    }
    assert looks <= DOCUMENTED.keys()


@pytest.mark.parametrize("kind", ["google_pubsub_subscription", "google_monitoring_alert_policy"])
def test_durations_are_whole_seconds(runs: dict[str, Applied], kind: str) -> None:
    names = {"message_retention_duration", "minimum_backoff", "maximum_backoff", "duration", "alignment_period"}
    durations = [
        value
        for run in runs.values()
        for address, each in run.resources.items()
        if address.startswith(f"{kind}.")
        for key, value in found(each)
        if key in names
    ]
    assert durations
    assert all(value.endswith("s") and value[:-1].isdigit() for value in durations)
