"""What counts as left by everybody. `test_rights.py` shows that it is found and deleted, with the sweep's rights."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.k8s.base.orphans import LONGEST_SET, SLACK, is_orphan, main
from ips_common.models.task import TaskSpec
from tests.deploy.kustomize import build, of_kind

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DEADLINE, TTL = timedelta(seconds=600), timedelta(seconds=3600)
MOMENT = timedelta(seconds=1)


def ago(age: timedelta) -> str:
    return (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(
    created: timedelta,
    *,
    started: timedelta | None = None,
    ended: timedelta | None = None,
    condition: str = "Complete",
    **metadata: Any,
) -> dict[str, Any]:
    status: dict[str, Any] = {"startTime": ago(started)} if started else {}
    if ended:
        status["conditions"] = [{"type": condition, "status": "True", "lastTransitionTime": ago(ended)}]
    spec = {
        "activeDeadlineSeconds": int(DEADLINE.total_seconds()),
        "ttlSecondsAfterFinished": int(TTL.total_seconds()),
    }
    return {"metadata": {"creationTimestamp": ago(created), **metadata}, "spec": spec, "status": status}


LONG_AGO = timedelta(days=2)


@pytest.mark.parametrize(
    "found",
    [
        job(LONG_AGO, started=DEADLINE + SLACK + MOMENT),
        job(DEADLINE + SLACK + MOMENT),  # no controller has ever seen it
        job(LONG_AGO, started=LONG_AGO, ended=TTL + SLACK + MOMENT),
        job(LONG_AGO, started=LONG_AGO, ended=TTL + SLACK + MOMENT, condition="Failed"),
        job(LONG_AGO, started=LONG_AGO, ended=MOMENT, condition="Suspended"),
    ],
)
def test_jobs_are_orphans_when_deadline_or_ttl_is_long_past(found: dict[str, Any]) -> None:
    assert is_orphan("Job", found, NOW)


@pytest.mark.parametrize(
    "found",
    [
        job(MOMENT),
        job(LONG_AGO, started=DEADLINE + SLACK - MOMENT),
        job(LONG_AGO, started=LONG_AGO, ended=TTL + SLACK - MOMENT),
        job(LONG_AGO, started=LONG_AGO, ended=MOMENT, condition="Failed"),
        job(LONG_AGO, deletionTimestamp=ago(MOMENT)),  # somebody does look after it
    ],
)
def test_jobs_are_no_orphans_before(found: dict[str, Any]) -> None:
    assert not is_orphan("Job", found, NOW)


def test_daemonsets_are_orphans_when_no_attempt_can_last_that_long() -> None:
    assert is_orphan("DaemonSet", {"metadata": {"creationTimestamp": ago(LONGEST_SET + MOMENT)}}, NOW)
    assert not is_orphan("DaemonSet", {"metadata": {"creationTimestamp": ago(LONGEST_SET - MOMENT)}}, NOW)


def test_no_task_may_ask_for_more_time_than_a_daemonset_is_given() -> None:
    longest = next(each.le for each in TaskSpec.model_fields["timeout_seconds"].metadata if hasattr(each, "le"))
    assert timedelta(seconds=longest) * 2 < LONGEST_SET


def test_a_cluster_that_cannot_be_reached_ends_the_sweep_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--namespace=ips", f"--account={tmp_path}"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert '"severity": "ERROR"' in line


def test_the_sweep_looks_where_the_functions_create() -> None:
    (cron,) = (obj for obj in of_kind(build("base"), "CronJob") if obj["metadata"]["name"] == "ips-orphans")
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    settings = next(obj for obj in of_kind(build("overlays/in-cluster"), "ConfigMap") if "K8S_NAMESPACE" in obj["data"])
    assert container["args"] == [f"--namespace={settings['data']['K8S_NAMESPACE']}"]
