"""A batch's report as a document: each distinct problem with the nodes it befell."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ips_common.models.results import Problem, Reason
from ips_common.ports.store import BatchReport
from ips_common.store.commit import Document
from ips_common.store.sharddoc import clipped


def encode_report(report: BatchReport, expire_at: datetime) -> Document:
    """The document of a report."""
    nodes: dict[Problem, list[str]] = {}
    for node, problem in report.problems.items():
        nodes.setdefault(problem, []).append(node)
    return {
        "attempt": report.attempt,
        "batch": report.batch,
        "refusal": None if report.refusal is None else clipped(report.refusal),
        "problems": [
            {
                "reason": problem.reason.value,
                "message": clipped(problem.message),
                "retryable": problem.retryable,
                "nodes": names,
            }
            for problem, names in nodes.items()
        ],
        "expireAt": expire_at,
    }


def decode_report(document: Mapping[str, Any]) -> BatchReport:
    """The report of a document."""
    return BatchReport(
        document["attempt"],
        document["batch"],
        {
            node: Problem(Reason(entry["reason"]), entry["message"], entry["retryable"])
            for entry in document["problems"]
            for node in entry["nodes"]
        },
        document["refusal"],
    )
