"""What the stack tells the person who started it: one line per part."""

import threading
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Reporter(Protocol):
    """Where the stack reports its progress."""

    def waiting(self, part: str) -> None:
        """The part was started."""

    def ready(self, part: str, where: str, seconds: float) -> None:
        """The part answers at `where`, `seconds` after it was started; 0 if it was not started here."""

    def remark(self, text: str) -> None:
        """Something worth knowing happened."""

    def settle(self) -> None:
        """Starting is over, well or not: leave the lines as they are."""


class Quiet:
    """Reports nothing, for tests."""

    def waiting(self, part: str) -> None:
        """Say nothing."""

    def ready(self, part: str, where: str, seconds: float) -> None:
        """Say nothing."""

    def remark(self, text: str) -> None:
        """Say nothing."""

    def settle(self) -> None:
        """Say nothing."""


class Plain:
    """A line when a part is ready, for pipes and log files."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def waiting(self, part: str) -> None:
        """Say nothing: the line comes when the part is ready."""

    def ready(self, part: str, where: str, seconds: float) -> None:
        """Print the part's line."""
        took = f" in {seconds:.1f} s" if seconds else ""
        self._console.print(f"{part:<10} ready{took:<9}  {where}", highlight=False, soft_wrap=True, markup=False)

    def remark(self, text: str) -> None:
        """Print the remark."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def settle(self) -> None:
        """Every line is out already."""


class Lively:
    """A line per part with a spinner that becomes a tick, for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[Spinner | Text, str]] = {}
        self._live: Live | None = None

    def waiting(self, part: str) -> None:
        """Show the part with a spinner."""
        self._show(part, Spinner("dots", style="cyan"), "starting")

    def ready(self, part: str, where: str, seconds: float) -> None:
        """Replace the spinner by a tick."""
        self._show(part, Text("✓", style="green"), f"{where} [dim]{seconds:.1f} s[/dim]" if seconds else where)

    def remark(self, text: str) -> None:
        """Print the remark above the lines."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def settle(self) -> None:
        """Leave the lines where they are."""
        with self._lock:
            if self._live:
                for part, (mark, _) in self._rows.items():
                    if isinstance(mark, Spinner):
                        self._rows[part] = (Text("✗", style="red"), "not ready")
                self._live.update(self._table())
                self._live.stop()
            self._live = None
            self._rows.clear()

    def _show(self, part: str, mark: Spinner | Text, text: str) -> None:
        with self._lock:
            self._rows[part] = (mark, text)
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=12)
                self._live.start()
            self._live.update(self._table())

    def _table(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        for part, (mark, text) in self._rows.items():
            grid.add_row(mark, Text(part, style="bold"), text)
        return grid


def reporter(console: Console) -> Reporter:
    """The reporter that suits where `console` writes."""
    return Lively(console) if console.is_terminal else Plain(console)
