from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.local.errors import StackError
from deploy.local.scheduler import Scheduler
from ips_common.topology import Schedule

MINUTE = datetime(2026, 11, 24, 8, 15, tzinfo=UTC)


def schedule(name: str, expression: str) -> Schedule:
    return Schedule(name=name, schedule=expression, topic="kicks", message={"kind": name})


def test_only_what_is_due_is_published(tmp_path: Path) -> None:
    published: list[tuple[str, Mapping[str, Any]]] = []
    schedules = [schedule("always", "* * * * *"), schedule("never", "16 * * * *")]
    scheduler = Scheduler(schedules, lambda topic, message: published.append((topic, message)), tmp_path / "log")
    scheduler.publish_due(MINUTE)
    assert published == [("kicks", {"kind": "always"})]
    assert (tmp_path / "log").read_text() == "2026-11-24T08:15Z always: published to kicks\n"


def test_a_lost_message_is_logged_and_the_others_go_out(tmp_path: Path) -> None:
    published: list[str] = []

    def publish(topic: str, message: Mapping[str, Any]) -> None:
        if message == {"kind": "first"}:
            raise StackError("the emulator is away")
        published.append(topic)

    schedules = [schedule("first", "* * * * *"), schedule("second", "* * * * *")]
    Scheduler(schedules, publish, tmp_path / "log").publish_due(MINUTE)
    assert published == ["kicks"]
    assert "first: the emulator is away" in (tmp_path / "log").read_text()


def test_an_expression_that_is_not_understood_names_its_schedule(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="schedule odd: '@daily'"):
        Scheduler([schedule("odd", "@daily")], lambda _topic, _message: None, tmp_path / "log")
