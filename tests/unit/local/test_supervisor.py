import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.console import Quiet
from deploy.local.errors import StackError
from deploy.local.parts import Part
from deploy.local.process import Process
from deploy.local.supervisor import Supervisor
from deploy.local.warden import Warden

LIVES = "import time; print('up', flush=True); time.sleep(60)"
DIES = "import sys; print('cannot go on', flush=True); sys.exit(7)"


class Remarks(Quiet):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.parts: list[str] = []

    def ready(self, part: str, where: str, seconds: float) -> None:
        assert seconds >= 0
        self.parts.append(f"{part} at {where}")

    def remark(self, text: str) -> None:
        self.texts.append(text)


class Rig:
    """A supervisor and the parts that a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.warden = Warden(folder / "scratch")
        self.remarks = Remarks()
        self.supervisor = Supervisor(self.remarks, autorestart=True)
        self._folder = folder

    def part(self, name: str, program: str, *, restart: bool = True) -> Part:
        log = self._folder / f"{name}.log"
        process = Process(
            name, [sys.executable, "-c", program], env=os.environ, cwd=self._folder, log=log, warden=self.warden
        )
        return Part(process, lambda: log.exists() and "up" in log.read_text(), "here", restart=restart)

    def run(self, *parts: Part) -> None:
        self.supervisor.launch(parts)
        self.supervisor.wait_ready(parts)
        self.supervisor.watch()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.supervisor.stop(grace_s=5)
    assert not any(part.process.alive for part in made.supervisor.parts.values())
    made.warden.dismiss()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)


def test_every_part_is_reported_when_it_is_ready(rig: Rig) -> None:
    rig.run(rig.part("one", LIVES), rig.part("two", LIVES))
    assert sorted(rig.remarks.parts) == ["one at here", "two at here"]


def test_a_part_that_ends_while_starting_is_told_with_its_log(rig: Rig) -> None:
    part = rig.part("one", DIES)
    rig.supervisor.launch([part])
    with pytest.raises(StackError, match=r"one ended with exit code 7;(.|\n)*\| cannot go on"):
        rig.supervisor.wait_ready([part])


def test_the_end_of_a_structured_log_is_told_in_short(rig: Rig) -> None:
    entry = {"severity": "ERROR", "message": "no store", "stack_trace": "Traceback ...\nValueError: nowhere"}
    part = rig.part("one", f"print({json.dumps(json.dumps(entry))}, flush=True); print('end'); raise SystemExit(1)")
    rig.supervisor.launch([part])
    with pytest.raises(StackError, match=r"\| ERROR no store: ValueError: nowhere\n  \| end$"):
        rig.supervisor.wait_ready([part])


def test_one_failure_ends_the_wait_for_the_others(rig: Rig) -> None:
    slow, broken = rig.part("slow", "import time; time.sleep(60)"), rig.part("broken", DIES)
    rig.supervisor.launch([slow, broken])
    with pytest.raises(StackError, match="broken ended"):
        rig.supervisor.wait_ready([slow, broken])


def test_a_function_that_ends_is_started_again(rig: Rig) -> None:
    part = rig.part("one", LIVES)
    rig.run(part)
    first = part.process.pid
    assert first
    os.kill(first, 9)
    until(lambda: bool(rig.remarks.texts))
    assert rig.remarks.texts == [f"one ended with signal 9: started again as process {part.process.pid}"]
    assert part.process.pid != first
    assert rig.remarks.texts[0] in part.process.tail(5)


def test_a_killed_function_comes_back_at_once(rig: Rig) -> None:
    part = rig.part("one", LIVES)
    rig.run(part)
    first = part.process.pid
    rig.supervisor.kill("one")
    assert part.process.alive
    assert part.process.pid != first


def test_a_killed_function_stays_down_until_it_is_started_where_nothing_restarts_it(rig: Rig) -> None:
    rig.supervisor.autorestart = False
    part = rig.part("one", LIVES)
    rig.run(part)
    rig.supervisor.kill("one")
    assert not part.process.alive
    with pytest.raises(AssertionError, match="never held"):
        _shortly(lambda: part.process.alive)
    rig.supervisor.start("one")
    assert part.process.alive


def test_a_function_that_keeps_ending_ends_the_stack(rig: Rig) -> None:
    part = rig.part("one", "print('up', flush=True); raise SystemExit(7)")
    rig.supervisor.launch([part])
    rig.supervisor.watch()
    with pytest.raises(StackError, match=r"one keeps ending \(6 times\): one ended with exit code 7"):
        rig.supervisor.wait(30)


def test_the_end_of_any_other_part_ends_the_stack(rig: Rig) -> None:
    part = rig.part("one", LIVES, restart=False)
    rig.run(part)
    assert part.process.pid
    os.kill(part.process.pid, 9)
    with pytest.raises(StackError, match="one ended with signal 9"):
        rig.supervisor.wait(30)


def _shortly(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 0.3
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)
