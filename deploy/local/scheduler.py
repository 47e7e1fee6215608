"""A stand-in for Cloud Scheduler: publishes the topology's scheduled messages, minute by minute."""

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.local.cron import Cron
from deploy.local.errors import StackError
from ips_common.topology import Schedule

Publish = Callable[[str, Mapping[str, Any]], None]
"""Publishes a message to a topic."""


class Scheduler:
    """A thread that wakes at each full minute."""

    def __init__(self, schedules: Iterable[Schedule], publish: Publish, log: Path) -> None:
        """Read the expressions; the file `log` gets a line for each message published or lost.

        Raises:
            StackError: An expression is not one that the stand-in understands.
        """
        self._schedules = []
        for schedule in schedules:
            try:
                self._schedules.append((Cron.parse(schedule.schedule), schedule))
            except ValueError as error:
                raise StackError(f"schedule {schedule.name}: {error}") from error
        self._publish = publish
        self._log = log
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Start publishing from the next full minute on."""
        self._thread.start()

    def stop(self) -> None:
        """Publish nothing more."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def publish_due(self, minute: datetime) -> None:
        """Publish what is due in this minute of UTC; a refusal is logged, for the next minute tries anew."""
        for cron, schedule in self._schedules:
            if not cron.due(minute):
                continue
            try:
                self._publish(schedule.topic, schedule.message)
            except StackError as error:
                self._note(minute, f"{schedule.name}: {error}")
            else:
                self._note(minute, f"{schedule.name}: published to {schedule.topic}")

    def _note(self, minute: datetime, text: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{minute:%Y-%m-%dT%H:%MZ} {text}\n")

    def _run(self) -> None:
        minute = _next_minute(datetime.now(UTC))
        while not self._end.wait(max(0.0, (minute - datetime.now(UTC)).total_seconds())):
            self.publish_due(minute)
            # A machine that slept goes on with the present minute; the lost ones are not made up for.
            minute = max(minute + timedelta(minutes=1), _next_minute(datetime.now(UTC) - timedelta(minutes=1)))


def _next_minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)
