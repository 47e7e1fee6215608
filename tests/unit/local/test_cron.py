from datetime import UTC, datetime

import pytest

from deploy.local.cron import Cron


@pytest.mark.parametrize(
    ("expression", "moment", "due"),
    [
        ("* * * * *", datetime(2026, 11, 24, 8, 15, tzinfo=UTC), True),
        ("*/5 * * * *", datetime(2026, 11, 24, 8, 15, tzinfo=UTC), True),
        ("*/5 * * * *", datetime(2026, 11, 24, 8, 16, tzinfo=UTC), False),
        ("3/10 * * * *", datetime(2026, 11, 24, 8, 23, tzinfo=UTC), True),
        ("3/10 * * * *", datetime(2026, 11, 24, 8, 20, tzinfo=UTC), False),
        ("0 8-10 * * *", datetime(2026, 11, 24, 10, 0, tzinfo=UTC), True),
        ("0 8-10 * * *", datetime(2026, 11, 24, 11, 0, tzinfo=UTC), False),
        ("0,30 * * * *", datetime(2026, 11, 24, 8, 30, tzinfo=UTC), True),
        ("0 0 1-31/10 * *", datetime(2026, 11, 21, 0, 0, tzinfo=UTC), True),
        ("0 0 * 2 *", datetime(2026, 11, 24, 0, 0, tzinfo=UTC), False),
        ("0 0 * * 2", datetime(2026, 11, 24, 0, 0, tzinfo=UTC), True),  # a Tuesday
        ("0 0 * * 0", datetime(2026, 11, 29, 0, 0, tzinfo=UTC), True),
        ("0 0 * * 7", datetime(2026, 11, 29, 0, 0, tzinfo=UTC), True),
        ("0 0 24 * 1", datetime(2026, 11, 24, 0, 0, tzinfo=UTC), True),  # either day will do
        ("0 0 24 * 1", datetime(2026, 11, 23, 0, 0, tzinfo=UTC), True),
        ("0 0 24 * 1", datetime(2026, 11, 25, 0, 0, tzinfo=UTC), False),
        ("0 0 24 * *", datetime(2026, 11, 23, 0, 0, tzinfo=UTC), False),
    ],
)
def test_due(expression: str, moment: datetime, *, due: bool) -> None:
    assert Cron.parse(expression).due(moment) is due


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "@hourly",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * JAN *",
        "*/0 * * * *",
        "5-1 * * * *",
        "1- * * * *",
        "-1 * * * *",
        "1/ * * * *",
        "² * * * *",
    ],
)
def test_what_is_not_understood_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Cron.parse(expression)
