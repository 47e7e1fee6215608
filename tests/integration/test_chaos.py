"""A short run of what `make chaos` does for minutes."""

from tests.chaos.run import run


def test_promises_hold_through_faults_of_every_kind() -> None:
    told: list[str] = []
    report = run(7, tasks=4, seconds=20, tell=told.append)
    assert not report.violations, (report, told)
    assert report.tasks == 4
