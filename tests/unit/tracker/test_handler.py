"""Which messages the tracker believes: each kind only from where it comes."""

import pytest

from functions.tracker.handler import SOURCE, check_source
from ips_common.errors import MalformedMessage
from ips_common.models.message import BatchMessage, Kick, Notification, Tick

BATCH = BatchMessage(task_id="task-1", attempt=0, batch=1)
NOTICE = Notification(task_id="task-1", event_id="task-1.completed")
KICK = Kick(cluster="default")


@pytest.mark.parametrize(
    ("message", "source"),
    [
        (KICK, None),
        (Tick(), None),
        (BATCH, "ips-batches-push"),
        (BATCH, "projects/p/subscriptions/ips-batches-push"),
        (NOTICE, "ips-notifications-push"),
    ],
)
def test_a_message_that_came_its_own_way_is_believed(
    message: BatchMessage | Notification | Kick | Tick, source: str | None
) -> None:
    check_source(message, {SOURCE: source} if source else {}, dead=source is not None)


@pytest.mark.parametrize(
    ("message", "attributes", "dead"),
    [
        (BATCH, {}, False),
        (NOTICE, {}, False),
        (BATCH, {SOURCE: "ips-batches-push"}, False),
        (BATCH, {}, True),
        (BATCH, {SOURCE: "ips-releases-push"}, True),
        (NOTICE, {SOURCE: "ips-batches-push"}, True),
        (KICK, {SOURCE: "ips-releases-push"}, True),
        (Tick(), {SOURCE: "gcr-push"}, True),
    ],
)
def test_a_message_that_came_another_way_is_dropped(
    message: BatchMessage | Notification | Kick | Tick, attributes: dict[str, str], *, dead: bool
) -> None:
    with pytest.raises(MalformedMessage, match="not believed"):
        check_source(message, attributes, dead=dead)
