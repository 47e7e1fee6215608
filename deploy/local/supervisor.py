"""Starts the parts of a stack, keeps them alive, ends them.

What may be started again is, as Cloud Run would; the end of any other part is the end of the stack.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

from deploy.local.console import Reporter
from deploy.local.errors import StackError
from deploy.local.parts import Part
from deploy.local.readiness import ended

_INTERVAL_S = 0.05
_DEATHS = 5
_WITHIN_S = 30.0
_BACKOFF_S = (0.0, 0.2, 0.5, 1.0, 2.0)


class Supervisor:
    """The processes of one stack."""

    def __init__(self, reporter: Reporter, *, autorestart: bool) -> None:
        """`reporter` hears of every part that becomes ready or is started again."""
        self.autorestart = autorestart
        self.parts: dict[str, Part] = {}
        self._reporter = reporter
        self._launched: dict[str, float] = {}
        self._deaths: dict[str, deque[float]] = {}
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._failed = threading.Event()
        self._failure: StackError | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def launch(self, parts: Iterable[Part]) -> None:
        """Start the processes of `parts`, without waiting."""
        for part in parts:
            self.parts[part.name] = part
            self._deaths[part.name] = deque()
            self._launched[part.name] = time.monotonic()
            self._reporter.waiting(part.name)
            part.process.start()

    def wait_ready(self, parts: Iterable[Part]) -> None:
        """Wait until every one of `parts` is ready.

        Raises:
            StackError: One ended or took too long.
        """
        abandon = threading.Event()
        with ThreadPoolExecutor(max_workers=16, thread_name_prefix="ready") as pool:
            waits = {pool.submit(part.wait, abandon): part for part in parts}
            try:
                for wait in as_completed(waits):
                    wait.result()
                    part = waits[wait]
                    self._reporter.ready(part.name, part.where, time.monotonic() - self._launched[part.name])
            finally:
                abandon.set()

    def watch(self) -> None:
        """From now on start again what ends, or fail for it."""
        self._thread.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for a failure, at most `timeout_s` seconds.

        Raises:
            StackError: A part ended for good.
        """
        if self._failed.wait(timeout_s) and self._failure:
            raise self._failure

    def kill(self, name: str) -> None:
        """Kill the part's whole process group; this does not count as a crash."""
        part = self.parts[name]
        with self._lock:
            part.process.kill()
            if part.restart and self.autorestart:
                self._restart(part, "was killed")

    def start(self, name: str) -> None:
        """Start the part if it does not run, and wait until it is ready.

        Raises:
            StackError: It does not become ready.
        """
        part = self.parts[name]
        with self._lock:
            if not part.process.alive:
                self._restart(part, "was down")
        part.wait(self._end)

    def stop(self, grace_s: float) -> None:
        """End every process; those that may be started again first, with `grace_s` seconds to finish what they do."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            gentle = [part.process for part in self.parts.values() if part.restart]
            for process in gentle:
                process.terminate()
            until = time.monotonic() + grace_s
            for process in gentle:
                process.wait(until)
        finally:
            for part in self.parts.values():
                part.process.kill()

    def _run(self) -> None:
        while not self._end.wait(_INTERVAL_S):
            for part in self.parts.values():
                with self._lock:
                    if not part.process.alive:
                        self._died(part)
            if self._failure:
                self._failed.set()
                return

    def _died(self, part: Part) -> None:
        if not part.restart:
            self._failure = StackError(ended(part.process))
        elif self.autorestart:
            deaths = self._deaths[part.name]
            deaths.append(time.monotonic())
            while deaths[-1] - deaths[0] > _WITHIN_S:
                deaths.popleft()
            if len(deaths) > _DEATHS:
                self._failure = StackError(f"{part.name} keeps ending ({len(deaths)} times): {ended(part.process)}")
            elif not self._end.wait(_BACKOFF_S[len(deaths) - 1]):
                self._restart(part, f"ended with {part.process.outcome}")

    def _restart(self, part: Part, why: str) -> None:
        part.process.start()
        text = f"{part.name} {why}: started again as process {part.process.pid}"
        part.process.note(text)
        self._reporter.remark(text)
