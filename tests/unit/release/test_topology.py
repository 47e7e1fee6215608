"""Every kind of release event reaches the function, and none for ever."""

from datetime import timedelta
from pathlib import Path

import pytest

from ips_common.models.release import ReleaseTopic
from ips_common.ports.store import KEY_LIFE
from ips_common.topology import Subscription, load_topology

OWN = load_topology(Path(__file__).resolve().parents[3] / "infra" / "topology.yaml")


@pytest.fixture(params=list(ReleaseTopic))
def subscription(request: pytest.FixtureRequest) -> Subscription:
    (found,) = (each for each in OWN.subscriptions if each.topic == request.param)
    return found


def test_each_topic_is_pushed_to_the_function(subscription: Subscription) -> None:
    assert subscription.function == "release"
    assert subscription.ack_deadline_seconds > OWN.functions["release"].timeout_seconds


def test_what_is_never_acknowledged_ends_among_the_dead_letters(subscription: Subscription) -> None:
    assert subscription.dead_letter is not None
    assert subscription.dead_letter.topic == "ips-dead-letters"


def test_no_event_is_delivered_after_its_tasks_key_is_forgotten(subscription: Subscription) -> None:
    assert timedelta(seconds=subscription.retention_seconds) <= KEY_LIFE
