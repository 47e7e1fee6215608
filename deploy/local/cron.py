"""Cron expressions of five fields, as Cloud Scheduler reads them in UTC."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))


@dataclass(frozen=True)
class Cron:
    """The minutes at which an expression is due."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Read numbers, `*`, ranges, lists and steps; names and `@` words are refused.

        Raises:
            ValueError: The expression is none of these.
        """
        fields = expression.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"{expression!r} is not a cron expression of five fields")
        minutes, hours, days, months, weekdays = (
            _values(field, name, low, high) for field, (name, low, high) in zip(fields, _FIELDS, strict=True)
        )
        sunday_as_zero = frozenset(day % 7 for day in weekdays)
        return cls(minutes, hours, days, months, sunday_as_zero, fields[2].startswith("*"), fields[4].startswith("*"))

    def due(self, minute: datetime) -> bool:
        """Whether the expression names this minute, given in UTC."""
        day, weekday = minute.day in self.days, minute.isoweekday() % 7 in self.weekdays
        # Cron's old rule: a day of month and a day of week that are both given are alternatives.
        day_fits = day and weekday if self.any_day or self.any_weekday else day or weekday
        return minute.minute in self.minutes and minute.hour in self.hours and minute.month in self.months and day_fits


def _values(field: str, name: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for item in field.split(","):
        span, slash, step_text = item.partition("/")
        first_text, dash, last_text = span.partition("-")
        texts = [text for text, there in ((first_text, span != "*"), (last_text, dash), (step_text, slash)) if there]
        if not all(text.isascii() and text.isdigit() for text in texts):
            raise ValueError(f"{field!r} is not understood as the {name}; use numbers, *, ranges, lists and steps")
        first = low if span == "*" else int(first_text)
        last = int(last_text) if dash else first
        if span == "*" or (slash and not dash):
            last = high
        step = int(step_text) if slash else 1
        if not (low <= first <= last <= high and step):
            raise ValueError(f"{field!r} is out of range for the {name}, {low} to {high}")
        values.update(range(first, last + 1, step))
    return frozenset(values)
