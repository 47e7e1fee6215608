"""Requests made from the description, good and bad, get only answers that it describes."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks

from ips_common.models.task import TaskStatus
from ips_common.store.memory import MemoryStore
from tests.unit.api.conftest import TASKS, Api

load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
        "allow_header_conformance",
    ]
)
REJECTING = CHECKS.get_by_names(["negative_data_rejection"])


def tasks_of_every_kind(api: Api) -> list[str]:
    """Create tasks that run, wait, are done, have failed and were cancelled."""
    running, done, failed, cancelled = (api.create() for _ in range(4))
    api.settle(running, api.pulled())
    api.settle(failed, api.failed(), api.failed(), api.failed())
    api.settle(done, *(api.pulled() for _ in range(3)))
    for task_id, status in ((done, TaskStatus.COMPLETED), (failed, TaskStatus.FAILED)):
        api.change(task_id, status=status, finished_at=api.now)
    api.client.delete(f"{TASKS}/{cancelled}")
    return [running, done, failed, cancelled, api.store_waiting()]


# Three nodes, room for many tasks, and nobody waits for a gate.
api = Api(MemoryStore(max_concurrent_tasks=100_000), deps={"gate_max_wait": 0.0}, max_pending_tasks=100_000)
known_ids: dict[str, Iterator[str]] = {}
schema = schemathesis.openapi.from_wsgi("/openapi.json", api.client.application)
answered: defaultdict[str, set[int]] = defaultdict(set)


def call(case: Case[Any], checks: list[Any]) -> None:
    # schemathesis does not unpack what a WSGI application packs.
    answer = case.call_and_validate(checks=checks, headers={"Accept-Encoding": "identity"})
    answered[case.operation.label].add(answer.status_code)


@schema.parametrize()
@settings(max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_described(case: Case[Any]) -> None:
    call(case, [*CHECKED, *REJECTING])
    if "taskId" in case.path_parameters:
        # Made-up ids find nothing.
        label = case.operation.label
        if label not in known_ids:
            known_ids[label] = cycle(tasks_of_every_kind(api))
        case.path_parameters = {"taskId": next(known_ids[label])}
        call(case, CHECKED)


def test_the_answers_were_of_many_kinds() -> None:
    if not answered:
        pytest.skip("needs the answers of the test above")

    assert answered[f"POST {TASKS}"] >= {200, 201, 400, 415, 422}
    assert answered[f"GET {TASKS}"] >= {200, 422}
    assert answered[f"GET {TASKS}/{{taskId}}"] >= {200, 404}
    assert answered[f"GET {TASKS}/{{taskId}}/nodes"] >= {200, 404, 422}
    assert answered[f"GET {TASKS}/{{taskId}}/gate"] >= {200, 202, 404, 409, 422}
    assert answered[f"DELETE {TASKS}/{{taskId}}"] >= {200, 404, 409}
    assert not {status for statuses in answered.values() for status in statuses if status >= 500}
