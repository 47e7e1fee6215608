"""What has to hold of rules and dashboard: what they name is what the code exports, values of labels included."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.monitoring.errors import CheckError
from deploy.monitoring.exported import Exported
from deploy.monitoring.promql import Matcher, Selector, parse

FOLDER = Path(__file__).parent
RULES = FOLDER / "rules.yaml"
RULE_TESTS = FOLDER / "rules.test.yaml"
DASHBOARD = FOLDER / "dashboard.json"
RUNBOOK = FOLDER.parents[1] / "docs" / "observability.md"

_VARIABLE = re.compile(r"\$\{?\w+\}?")
_RANGE_VARIABLE = re.compile(r"\$__(?:rate_interval|range|interval)")


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and where it stands."""

    place: str
    text: str

    @property
    def plain(self) -> str:
        """The expression as Prometheus gets it, with something for each of Grafana's variables."""
        return _VARIABLE.sub("x", _RANGE_VARIABLE.sub("5m", self.text))


def rules(path: Path = RULES) -> list[dict[str, Any]]:
    """All rules of a rule file."""
    return [rule for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def rule_queries(path: Path = RULES) -> list[Query]:
    """The expressions of a rule file."""
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules(path)]


def dashboard_queries(path: Path = DASHBOARD) -> list[Query]:
    """The expressions of a dashboard."""
    board = json.loads(path.read_text(encoding="utf-8"))
    return [*_panel_queries(board["panels"]), *_variable_queries(board["templating"]["list"])]


def page_queries(path: Path = RUNBOOK) -> list[Query]:
    """The expressions of a page: the lines of its blocks of `promql`."""
    blocks = re.findall(r"^```promql\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Query(path.name, line) for block in blocks for line in block.splitlines() if not line.startswith("#")]


def all_queries() -> list[Query]:
    """Every expression that this project gives to Prometheus or to people."""
    return [*rule_queries(), *dashboard_queries(), *page_queries()]


def _panel_queries(panels: Iterable[Mapping[str, Any]]) -> Iterator[Query]:
    for panel in panels:
        yield from _panel_queries(panel.get("panels", ()))
        for target in panel.get("targets", ()):
            yield Query(f"panel {panel['title']!r}", target["expr"])


def _variable_queries(variables: Iterable[Mapping[str, Any]]) -> Iterator[Query]:
    for variable in variables:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.+), *(\w+)\)", variable["query"]["query"])
            if match is None:
                raise CheckError(f"variable {variable['name']}: only label_values(metric, label) is checked")
            # Grouping by the label says what the variable needs: that there is one.
            yield Query(f"variable {variable['name']!r}", f"group by ({match[2]}) ({match[1]})")


def with_records(code: Exported, path: Path = RULES) -> Exported:
    """What the code exports and the recording rules add.

    Raises:
        CheckError: the name of a rule does not begin with labels that its expression has.
    """
    for rule in rules(path):
        if name := rule.get("record"):
            level = name.partition(":")[0]
            available = set[str]().union(
                *(code.labels.get(each.metric, set()) for each in parse(rule["expr"]).selectors)
            )
            labels = _split(level, available)
            if labels is None:
                raise CheckError(f"{name}: {level} is not made of labels that the expression has")
            code.labels[name] = labels
            for label in labels:
                for each in parse(rule["expr"]).selectors:
                    code.values[name, label] |= code.values.get((each.metric, label), set())
    return code


def _split(level: str, labels: set[str]) -> set[str] | None:
    if level in labels:
        return {level}
    for label in labels:
        if level.startswith(f"{label}_") and (rest := _split(level[len(label) + 1 :], labels)) is not None:
            return {label, *rest}
    return None


def problems(query: Query, code: Exported) -> list[str]:
    """Say what a query names that there is not."""
    try:
        expression = parse(query.plain)
    except CheckError as error:
        return [f"{query.place}: {error}"]
    found = [problem for each in expression.selectors for problem in _of_selector(each, code)]
    for grouping in expression.groupings:
        for each in grouping.selectors:
            found += [
                f"{each.metric} has no label {label} to group by"
                for label in grouping.labels
                if each.metric in code.labels and label not in code.labels[each.metric]
            ]
    if not expression.selectors:
        found.append("no metric is named")
    return [f"{query.place}: {problem}" for problem in found]


def _of_selector(selector: Selector, code: Exported) -> Iterator[str]:
    if selector.metric not in code.labels:
        yield f"there is no metric {selector.metric}"
        return
    for matcher in selector.matchers:
        if matcher.label not in code.labels[selector.metric]:
            yield f"{selector.metric} has no label {matcher.label}"
        elif not code.is_open(matcher.label):
            values = code.values[selector.metric, matcher.label]
            yield from (
                f"{selector.metric} has no {matcher.label} like {wanted}"
                for wanted in _alternatives(matcher)
                if not any(re.fullmatch(wanted, value) for value in values)
            )


def _alternatives(matcher: Matcher) -> list[str]:
    if matcher.value == "x":  # one of Grafana's variables stood here
        return []
    return matcher.value.split("|") if "~" in matcher.operator else [re.escape(matcher.value)]


def wrapped(queries: Iterable[Query]) -> str:
    """A rule file of the queries, for promtool to check their grammar."""
    recorded = [{"record": f"query:{number}", "expr": query.plain} for number, query in enumerate(queries)]
    return yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]})


def untested(rules_path: Path = RULES, tests_path: Path = RULE_TESTS) -> list[str]:
    """Say which alerts are not seen to fire, or not seen to stay quiet."""
    cases = [
        case
        for test in yaml.safe_load(tests_path.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", ())
    ]
    firing = {case["alertname"] for case in cases if case.get("exp_alerts")}
    quiet = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    alerts = {rule["alert"] for rule in rules(rules_path) if "alert" in rule}
    unknown = (firing | quiet) - alerts
    return sorted(
        [f"{name}: no test sees it fire" for name in alerts - firing]
        + [f"{name}: no test sees it stay quiet" for name in alerts - quiet]
        + [f"{name}: tested, but there is no such alert" for name in unknown]
    )


def anchors(page: Path) -> set[str]:
    """What links to headings of a page end with."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_runbook(rules_path: Path = RULES, runbook: Path = RUNBOOK) -> list[str]:
    """Say which alerts' `runbook_url` leads nowhere."""
    known = anchors(runbook)
    places = {
        rule["alert"]: str(rule["annotations"].get("runbook_url", "")) for rule in rules(rules_path) if "alert" in rule
    }
    wanted = f"docs/{runbook.name}#"
    return [
        f"{alert}: {place or 'no runbook_url'} is no heading of {runbook.name}"
        for alert, place in places.items()
        if not place.startswith(wanted) or place.removeprefix(wanted) not in known
    ]
