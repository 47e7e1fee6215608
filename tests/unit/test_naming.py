import re
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from ips_common.naming import daemonset_name, job_name, new_task_id

TASK = "task-20261124081530-1a2b3c4d"
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

node_names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", fullmatch=True)


def test_a_task_id_sorts_by_time_and_is_a_label_value() -> None:
    now = datetime(2026, 11, 24, 8, 15, 30, tzinfo=UTC)

    assert new_task_id(now, "1a2b3c4d") == TASK
    assert new_task_id(now + timedelta(seconds=1), "00000000") > TASK


def test_a_task_id_is_in_utc_wherever_it_is_made() -> None:
    now = datetime(2026, 11, 24, 9, 15, 30, tzinfo=timezone(timedelta(hours=1)))

    assert new_task_id(now, "1a2b3c4d") == TASK


def test_a_job_name_can_be_read() -> None:
    name = job_name(TASK, 2, "gke-prod-gpu-pool-1-8f4b2a3c-x7k2")

    assert name.startswith(f"{TASK}-2-")
    assert "8f4b2a3c-x7k2" in name


@given(node_names, st.integers(0, 5))
def test_a_job_name_is_a_dns_label_whatever_the_node_is_called(node: str, attempt: int) -> None:
    name = job_name(TASK, attempt, node)

    assert DNS_LABEL.fullmatch(name)
    assert name == job_name(TASK, attempt, node)


@given(st.text(max_size=300), st.integers(0, 5), st.text(max_size=300))
def test_a_job_name_is_a_dns_label_whatever_it_is_made_of(task: str, attempt: int, node: str) -> None:
    assert DNS_LABEL.fullmatch(job_name(task, attempt, node))


@given(st.sets(node_names, min_size=2, max_size=30))
def test_nodes_do_not_share_a_job_name(nodes: set[str]) -> None:
    assert len({job_name(TASK, 0, node) for node in nodes}) == len(nodes)


def test_names_that_differ_only_far_from_the_tail_stay_apart() -> None:
    tail = "x" * 60

    assert job_name(TASK, 0, f"a-{tail}") != job_name(TASK, 0, f"b-{tail}")
    assert job_name(TASK, 0, "a.b") != job_name(TASK, 0, "a-b")


@given(st.text(max_size=300), st.integers(0, 5))
def test_a_daemonset_name_is_a_dns_label_of_its_own(task: str, attempt: int) -> None:
    name = daemonset_name(task, attempt)

    assert DNS_LABEL.fullmatch(name)
    assert name != daemonset_name(task, attempt + 1)


def test_attempts_and_tasks_do_not_share_a_job_name() -> None:
    assert len({job_name(TASK, 0, "n"), job_name(TASK, 1, "n"), job_name(TASK[:-1] + "e", 0, "n")}) == 3
