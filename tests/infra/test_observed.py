"""Metrics count sentences that the code logs, by fields and labels that these entries have."""

import ast
import io
import json
import logging
import re
from datetime import UTC, datetime

import pytest

from ips_common.finishing import finish, log_end
from ips_common.logs import JsonFormatter
from ips_common.models.task import Task, TaskSpec, TaskStatus
from tests.infra.module import files
from tests.infra.reach import modules

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
TERRAFORM = files()["monitoring.tf"] + files()["dashboard.tf"]


def counted() -> set[str]:
    """The sentences of all filters."""
    filters = re.findall(r"jsonPayload\.message=(\(.*?\)|\\\".*?\\\")", TERRAFORM)
    return {sentence for each in filters for sentence in re.findall(r'\\"(.*?)\\"', each)}


def logged() -> dict[str, str]:
    """Every constant sentence that the code logs, with its level."""
    return {
        node.args[0].value: node.func.attr
        for module in modules().values()
        for statements in module.definitions.values()
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LEVELS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }


def entry(status: TaskStatus) -> dict[str, object]:
    """What Cloud Logging reads when a task ends."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("acme", "tracker"))
    logger = logging.getLogger("ips_common.finishing")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        spec = TaskSpec.model_validate({"images": ["nginx:1.27"]})
        log_end(finish(Task(task_id="task-1", spec=spec, created_at=NOW), status, NOW), NOW)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    found: dict[str, object] = json.loads(stream.getvalue())
    return found


def test_sentences_that_are_counted_are_logged() -> None:
    assert "task ended" in counted()
    assert counted() <= logged().keys()


def test_sentences_that_are_counted_are_logged_at_every_level_that_can_be_set() -> None:
    assert {logged()[sentence] for sentence in counted()} <= {"info", "warning", "error"}


@pytest.mark.parametrize("status", [status for status in TaskStatus if status.final])
def test_the_end_of_a_task_is_counted_by_its_status(status: TaskStatus) -> None:
    found = entry(status)
    fields = set(re.findall(r"EXTRACT\(jsonPayload\.(\w+)\)", TERRAFORM))
    labels = set(re.findall(r"EXTRACT\(labels\.(\w+)\)", TERRAFORM))
    assert found["message"] == "task ended"
    assert found["status"] == status.value
    assert fields == {"status"}
    assert labels == {"function", "cluster"}
    assert found["logging.googleapis.com/labels"] == {"taskId": "task-1", "cluster": "default", "function": "tracker"}


def test_queries_ask_for_statuses_that_there_are() -> None:
    asked = re.findall(r'\\"status\\"=~?\\"([\w|]+)\\"', TERRAFORM)
    assert asked
    assert {name for each in asked for name in each.split("|")} <= {status.value for status in TaskStatus}
