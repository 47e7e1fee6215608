import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deploy.local.process import Process
from deploy.local.warden import Warden

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., Process]

# A program with a child, as a server with its worker; both ignore a polite end.
FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Left to the system's first process, which may not collect it: a dead one counts as gone.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    warden = Warden(tmp_path / "scratch")
    made: list[Process] = []

    def process(command: Sequence[str]) -> Process:
        made.append(Process("part", command, env=os.environ, cwd=tmp_path, log=tmp_path / "part.log", warden=warden))
        return made[-1]

    yield process
    for one in made:
        one.kill()
    warden.dismiss()


def test_what_a_process_prints_is_in_its_log(make: Make) -> None:
    process = make([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
    process.start()
    assert process.wait(time.monotonic() + 20)
    assert sorted(process.tail(5).split()) == ["err", "out"]
    assert process.outcome == "exit code 3"


def test_a_tail_is_the_end_of_the_log(make: Make) -> None:
    process = make([sys.executable, "-c", "print(*range(10000), sep='\\n')"])
    assert process.tail(3) == ""
    process.start()
    assert process.wait(time.monotonic() + 20)
    assert process.tail(3) == "9997\n9998\n9999"


def test_killing_a_process_kills_its_whole_group(make: Make) -> None:
    process = make([sys.executable, "-c", FAMILY])
    process.start()
    until(lambda: len(pids(process.log)) == 2)
    process.terminate()
    assert not process.wait(time.monotonic() + 0.1)
    process.kill()
    until(lambda: all(map(gone, pids(process.log))))
    assert process.outcome == "signal 9"


def test_starting_again_ends_what_was_left(make: Make) -> None:
    process = make([sys.executable, "-c", FAMILY])
    process.start()
    until(lambda: len(pids(process.log)) == 2)
    first = pids(process.log)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not process.alive)
    process.start()
    until(lambda: all(map(gone, first)))
    assert process.alive


def test_nothing_is_left_when_the_owner_is_killed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    owner = f"""
        import os, sys
        from pathlib import Path
        from deploy.local.process import Process
        from deploy.local.warden import Warden
        folder = Path({str(tmp_path)!r})
        process = Process("part", [sys.executable, "-c", {FAMILY!r}], env=os.environ, cwd=folder,
                          log=folder / "part.log", warden=Warden(folder / "scratch"))
        process.start()
        sys.stdin.read()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(owner)], cwd=ROOT, stdin=subprocess.PIPE) as parent:
        until(lambda: len(pids(tmp_path / "part.log")) == 2)
        parent.kill()
    until(lambda: all(map(gone, pids(tmp_path / "part.log"))))
    until(lambda: not scratch.exists())
