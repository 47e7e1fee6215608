"""What Terraform makes comes from the files that the local stack and the tests read."""

import re

import pytest

from ips_common.config import Settings
from tests.infra.module import blocks, files, indexes, topology

SUBSCRIPTIONS = {each.name: each for each in topology().subscriptions}


def test_no_topic_subscription_or_schedule_is_written_into_terraform() -> None:
    named = [each.name for each in topology().topics]
    named += [each.name for each in topology().subscriptions]
    named += [each.name for each in topology().schedules]
    lines = [line for text in files().values() for line in text.splitlines()]
    code = "\n".join(line for line in lines if not re.match(r" *(#|description|error_message)", line))
    # Artifact Registry makes gcr: it exists unless somebody says otherwise.
    code = code.replace("default     = { gcr = null }", "")
    assert [name for name in named if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)] == []


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("google_pubsub_topic.this", "local.topics"),
        ("google_pubsub_subscription.push", "local.subscriptions"),
        ("google_cloud_scheduler_job.this", "local.topology.schedules"),
        ("google_cloudfunctions2_function.this", "local.functions"),
        ("google_firestore_index.this", "local.composite_indexes"),
        ("google_firestore_field.this", "local.field_overrides"),
    ],
)
def test_each_kind_is_made_from_its_file(kind: str, source: str) -> None:
    assert source in blocks("resource")[kind].partition("\n\n")[0]


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_a_message_is_not_delivered_again_while_its_function_may_still_work_on_it(name: str) -> None:
    subscription = SUBSCRIPTIONS[name]
    function = topology().functions[subscription.function]
    assert function.timeout_seconds < subscription.ack_deadline_seconds <= 600


def test_limits_are_those_that_google_sets() -> None:
    for name, function in topology().functions.items():
        # Pub/Sub waits 600 s for an answer; a function with one CPU has 4 GiB at most.
        assert function.timeout_seconds <= (3600 if function.trigger == "http" else 600), name
        assert function.memory_mi_b <= 4096, name
        assert function.concurrency <= 1000, name
        assert function.min_instances <= function.max_instances, name


def test_the_tracker_hands_over_before_it_is_cut_off() -> None:
    longest = next(each.le for each in Settings.model_fields["tracker_seconds"].metadata if hasattr(each, "le"))
    assert longest < topology().functions["tracker"].timeout_seconds


def test_there_is_one_tracker() -> None:
    assert topology().functions["tracker"].max_instances == 1


def test_what_expires_has_a_ttl_and_no_index_on_the_time() -> None:
    overrides = indexes()["fieldOverrides"]
    assert {each["collectionGroup"] for each in overrides} == {"tasks", "shards", "reports", "idempotency"}
    assert all(each["fieldPath"] == "expireAt" and each["ttl"] and each["indexes"] == [] for each in overrides)
