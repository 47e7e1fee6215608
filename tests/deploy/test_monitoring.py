"""Rules and dashboard name what the code exports; alerts are tested and have a runbook."""

import json
import re
from pathlib import Path

import pytest
import yaml

from deploy.monitoring import check, promtool
from deploy.monitoring.check import Query
from deploy.monitoring.errors import CheckError
from deploy.monitoring.exported import Exported, exported
from deploy.monitoring.promql import parse
from deploy.monitoring.promtool import Promtool


@pytest.fixture(scope="module")
def code() -> Exported:
    """What the code exports, and the recording rules add."""
    return check.with_records(exported())


@pytest.fixture
def tool() -> Promtool:
    """A promtool that is there already."""
    found = promtool.installed()
    if found is None:
        pytest.skip("no promtool here; make monitoring-check fetches one")
    return found


@pytest.mark.parametrize("query", check.all_queries(), ids=lambda query: query.place)
def test_queries_name_what_is_exported(code: Exported, query: Query) -> None:
    assert check.problems(query, code) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prewarm_task_total", "there is no metric prewarm_task_total"),
        ("rate(prewarm_tasks[5m])", "there is no metric prewarm_tasks"),
        ('prewarm_tasks_total{state="failed"}', "prewarm_tasks_total has no label state"),
        ('prewarm_tasks_total{status="fialed"}', "prewarm_tasks_total has no status like fialed"),
        ('prewarm_failures_total{reason=~"DiskFull|Diskful"}', "prewarm_failures_total has no reason like Diskful"),
        ("sum by (reason) (prewarm_tasks_total)", "prewarm_tasks_total has no label reason to group by"),
        ("prewarm_slots > on (cluster) prewarm_slots_taken", "prewarm_slots has no label cluster to group by"),
        (
            'prewarm_api_request_duration_seconds_count{path!~"/health|/livez"}',
            "prewarm_api_request_duration_seconds_count has no path like /livez",
        ),
        (
            'job_status:prewarm_tasks:increase1h{reason="DiskFull"}',
            "job_status:prewarm_tasks:increase1h has no label reason",
        ),
        ("sum(prewarm_tasks_total) by (status)", "write `by` before the operand: sum(prewarm_tasks_total) by (status)"),
        ('{__name__=~"prewarm_.*"}', 'a selector has no metric\'s name: {__name__=~"prewarm_.*"}'),
        ("time() > 5", "no metric is named"),
        ("prewarm_slots; drop", "cannot be read at '; drop': prewarm_slots; drop"),
    ],
)
def test_what_is_not_exported_is_noticed(code: Exported, text: str, problem: str) -> None:
    assert f"here: {problem}" in check.problems(Query("here", text), code)


def test_an_expression_is_taken_apart() -> None:
    text = """
        histogram_quantile(0.9, sum by (job, le) (rate(a:b_bucket{x="1", y=~'2|3'}[5m] offset 1h))) # comment {}
          / on (job) group_left (z) max without (y) (c) and topk(3, d) > bool 1e3 or time() - vector(inf)
    """
    expression = parse(text)
    assert [
        (each.metric, [(m.label, m.operator, m.value) for m in each.matchers]) for each in expression.selectors
    ] == [
        ("a:b_bucket", [("x", "=", "1"), ("y", "=~", "2|3")]),
        ("c", []),
        ("d", []),
    ]
    assert [(each.labels, [one.metric for one in each.selectors]) for each in expression.groupings] == [
        (("job", "le"), ["a:b_bucket"]),
        (("y",), ["c"]),
        ((), ["d"]),
        (("job",), ["a:b_bucket", "c", "d"]),
    ]


def test_a_recording_rule_is_named_after_its_labels(tmp_path: Path) -> None:
    rule = {"record": "job_reason:prewarm_tasks:max", "expr": "max by (job, status) (prewarm_tasks_total)"}
    (path := tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [rule]}]}))
    with pytest.raises(CheckError, match="job_reason is not made of labels"):
        check.with_records(exported(), path)


def test_every_metric_is_looked_at(code: Exported) -> None:
    queries = [*check.rule_queries(), *check.dashboard_queries()]
    named = {each.metric for query in queries for each in parse(query.plain).selectors}
    for name, kind in code.types.items():
        series = {"counter": {f"{name}_total"}, "histogram": {f"{name}_bucket"}}.get(kind, {name})
        assert series & named, f"no rule and no panel shows {name}"


def test_panels_have_a_place_of_their_own_and_the_chosen_data_source() -> None:
    board = json.loads(check.DASHBOARD.read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
    assert max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_alert_is_seen_to_fire_and_to_stay_quiet() -> None:
    assert check.untested() == []


def test_an_alert_without_a_test_is_noticed(tmp_path: Path) -> None:
    tests = yaml.safe_load(check.RULE_TESTS.read_text(encoding="utf-8"))
    for test in tests["tests"]:
        test["alert_rule_test"] = [
            case
            for case in test.get("alert_rule_test", ())
            if case["alertname"] != "PrewarmApiSlow"
            and (case["alertname"] != "PrewarmApiErrors" or "exp_alerts" in case)
        ]
    tests["tests"][0]["alert_rule_test"].append({"alertname": "PrewarmNothing", "eval_time": "1m"})
    (path := tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    assert check.untested(tests_path=path) == [
        "PrewarmApiErrors: no test sees it stay quiet",
        "PrewarmApiSlow: no test sees it fire",
        "PrewarmApiSlow: no test sees it stay quiet",
        "PrewarmNothing: tested, but there is no such alert",
    ]


def test_every_alert_has_a_runbook() -> None:
    assert check.without_runbook() == []


def test_an_alert_without_a_runbook_is_noticed(tmp_path: Path) -> None:
    words = check.RUNBOOK.read_text(encoding="utf-8").replace("### PrewarmQueueSlow", "### Slow queue")
    (path := tmp_path / "observability.md").write_text(words)
    assert check.without_runbook(runbook=path) == [
        "PrewarmQueueSlow: docs/observability.md#prewarmqueueslow is no heading of observability.md"
    ]


def test_every_alert_stands_in_the_table_with_its_severity() -> None:
    words = check.RUNBOOK.read_text(encoding="utf-8")
    for rule in check.rules():
        if alert := rule.get("alert"):
            assert f"| [{alert}](#{alert.lower()}) | {rule['labels']['severity']} |" in words


def test_whoever_is_called_by_a_policy_of_google_cloud_finds_it_here() -> None:
    words = check.RUNBOOK.read_text(encoding="utf-8")
    policies = (check.FOLDER.parents[1] / "infra" / "monitoring.tf").read_text(encoding="utf-8")
    titles = re.findall(r"^ +title = \"(.+)\"$", policies, re.MULTILINE)
    assert len(titles) >= 5
    assert [title for title in titles if f"| IPS: {title} | [" not in words] == []


def test_links_within_the_page_lead_somewhere() -> None:
    words = check.RUNBOOK.read_text(encoding="utf-8")
    targets = set(re.findall(r"\]\(#([\w-]+)\)", words))
    assert targets
    assert targets - check.anchors(check.RUNBOOK) == set()


def test_every_exported_metric_stands_in_the_table(code: Exported) -> None:
    words = check.RUNBOOK.read_text(encoding="utf-8")
    table = words[words.index("## Figures") : words.index("### Scraping")]
    for name, kind in code.types.items():
        assert f"`{name}{'_total' if kind == 'counter' else ''}`" in table


def test_promtool_finds_nothing_wrong_with_the_rules(tool: Promtool) -> None:
    tool.check_rules(check.RULES)


def test_promtool_sees_the_rules_do_what_their_tests_say(tool: Promtool) -> None:
    tool.test_rules(check.RULE_TESTS)


BREAKAGES = [
    ("seconds > 300\n            or", "seconds > 30000\n            or", "PrewarmTrackerSilent"),
    ("max by (job, status) (increase", "sum by (job, status) (increase", "job_status:prewarm_tasks:increase1h"),
    ('status=~"completed|failed"}) > 0', 'status=~".+"}) > 0', "PrewarmTasksFailing"),
    ("|.*/gate", "", "PrewarmApiSlow"),
    ("slots_free:max > 0", "slots_free:max >= 0", "PrewarmQueueStuck"),
    ("prewarm_failures:increase1h > 9.5", "prewarm_failures:increase1h > 0", "PrewarmNodesFailing"),
]


def test_the_tests_of_the_rules_notice_broken_ones(tool: Promtool, tmp_path: Path) -> None:
    words = check.RULES.read_text(encoding="utf-8")
    for old, new, _ in BREAKAGES:
        assert old in words
        words = words.replace(old, new)
    (tmp_path / "rules.yaml").write_text(words)
    (tests := tmp_path / "rules.test.yaml").write_text(check.RULE_TESTS.read_text(encoding="utf-8"))
    with pytest.raises(CheckError) as failed:
        tool.test_rules(tests)
    assert [told for *_, told in BREAKAGES if told not in str(failed.value)] == []


def test_promtool_accepts_the_grammar_of_every_query(tool: Promtool, tmp_path: Path) -> None:
    queries = check.all_queries()
    (path := tmp_path / "queries.yaml").write_text(check.wrapped(queries))
    tool.check_rules(path)

    path.write_text(check.wrapped([*queries, Query("broken", "sum by (status) prewarm_tasks_total")]))
    with pytest.raises(CheckError, match="parse error"):
        tool.check_rules(path)


def test_without_promtool_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert promtool.installed(tmp_path) is None
    with pytest.raises(CheckError) as missing:
        promtool.find(tmp_path / "prometheus")
    assert "apt-get install prometheus" in str(missing.value)
    assert "\n" not in str(missing.value)
