"""Composite indexes: those that queries needed, as the emulator reports them, and those that are declared.

The emulator answers every query, declared index or not, but remembers for each database which indexes Firestore itself
would have used. The report is undocumented; it survives deletions, and an unknown database has an empty one.
"""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DECLARED = Path(__file__).parents[1] / "infra" / "firestore.indexes.json"

MERGED = {("tasks", frozenset({"spec.cluster", "status"}))}
"""Collections and fields that are only compared for equality, which Firestore answers from single-field indexes.

The report names an index for these too, and cannot be told from one that sorts by the last of the fields.
"""

Index = tuple[Any, ...]
"""A collection, then pairs of field and order."""


def declared() -> set[Index]:
    """Return the composite indexes of `infra/firestore.indexes.json`."""
    return {
        (index["collectionGroup"], *((field["fieldPath"], field["order"]) for field in index["fields"]))
        for index in json.loads(DECLARED.read_text(encoding="utf-8"))["indexes"]
    }


def used(host: str, projects: Iterable[str]) -> set[Index]:
    """Return the composite indexes that queries in some projects needed."""
    return {index for project in projects for report in _reports(host, project) if (index := _index(report["index"]))}


def _reports(host: str, project: str) -> list[dict[str, Any]]:
    database = urllib.parse.quote(f"projects/{project}/databases/(default)", safe="")
    url = f"http://{host}/emulator/v1/projects/{project}:indexUsage?database={database}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer).get("reports", [])
    return found


def _index(report: dict[str, Any]) -> Index | None:
    fields = [
        (field["fieldPath"], field.get("order", field.get("arrayConfig")))
        for field in report["fields"]
        if field["fieldPath"] != "__name__"
    ]
    group = report["name"].split("/collectionGroups/")[1].split("/")[0]
    return None if (group, frozenset(name for name, _ in fields)) in MERGED else (group, *fields)
