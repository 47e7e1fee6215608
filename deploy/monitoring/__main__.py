"""`make monitoring-check`: the rules' grammar and unit tests, and every query against the exported metrics."""

import logging
import sys
import tempfile
from pathlib import Path

import yaml

from deploy.monitoring import check, promtool, saved
from deploy.monitoring.errors import CheckError
from deploy.monitoring.exported import exported
from deploy.monitoring.said import said


def main() -> int:
    """Check everything; returns the exit status."""
    logging.getLogger().addHandler(logging.NullHandler())
    queries = check.all_queries()
    sentences = said()
    searches = saved.queries(check.RUNBOOK)
    found = [*check.untested(), *check.without_runbook()]
    found += [problem for search in searches for problem in saved.problems(search, sentences)]
    try:
        code = check.with_records(exported())
        found += [problem for query in queries for problem in check.problems(query, code)]
        tool = promtool.find()
        tool.check_rules(check.RULES)
        with tempfile.TemporaryDirectory() as folder:
            (wrapped := Path(folder) / "queries.yaml").write_text(check.wrapped(queries), encoding="utf-8")
            tool.check_rules(wrapped)
        tool.test_rules(check.RULE_TESTS)
    except CheckError as error:
        found.append(str(error))
    if found:
        sys.stderr.write("\n".join(found) + "\n")
        return 1
    alerts = sum("alert" in rule for rule in check.rules())
    tests = yaml.safe_load(check.RULE_TESTS.read_text(encoding="utf-8"))["tests"]
    cases = sum(len(test.get(kind, ())) for test in tests for kind in ("alert_rule_test", "promql_expr_test"))
    sys.stdout.write(
        f"monitoring: {alerts} alerts and {len(check.rules()) - alerts} recording rules, "
        f"{len(tests)} tests of them with {cases} expectations, "
        f"{len(queries)} queries checked against {len(code.types)} exported metrics, "
        f"{len(searches)} log queries against {len(sentences)} sentences\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
