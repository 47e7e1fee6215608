import io

from rich.console import Console

from deploy.local.console import Lively, Plain, reporter


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)


def written(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_a_terminal_gets_the_lively_form_and_a_pipe_the_plain_one() -> None:
    assert isinstance(reporter(console(terminal=True)), Lively)
    assert isinstance(reporter(console(terminal=False)), Plain)


def test_a_plain_line_comes_when_the_part_is_ready() -> None:
    target = console(terminal=False)
    plain = Plain(target)
    plain.waiting("firestore")
    assert written(target) == ""
    plain.ready("firestore", "127.0.0.1:1", 1.25)
    plain.ready("cluster", "https://cluster.example, running already", 0)
    assert [line.split() for line in written(target).splitlines()] == [
        ["firestore", "ready", "in", "1.2", "s", "127.0.0.1:1"],
        ["cluster", "ready", "https://cluster.example,", "running", "already"],
    ]


def test_a_part_that_never_became_ready_is_marked() -> None:
    target = console(terminal=True)
    lively = Lively(target)
    lively.waiting("firestore")
    lively.waiting("pubsub")
    lively.ready("firestore", "127.0.0.1:1", 1.25)
    lively.settle()
    last = written(target).splitlines()[-3:]
    assert any("✓ firestore 127.0.0.1:1 1.2 s" in line for line in last)
    assert any("✗ pubsub    not ready" in line for line in last)
