"""Log entries are constant sentences with fields; saved queries, metrics and the page for operators name real ones."""

import re
from pathlib import Path

import pytest

from deploy.monitoring import check, saved
from deploy.monitoring.said import ROOT, Sentence, said

SENTENCES = said()
QUERIES = saved.queries(check.RUNBOOK)
METRICS = (ROOT / "infra" / "monitoring.tf").read_text(encoding="utf-8")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.splitlines()[0][:60])
def test_saved_queries_name_what_is_written(query: str) -> None:
    assert saved.problems(query, SENTENCES) == []


def test_there_are_saved_queries() -> None:
    assert len(QUERIES) >= 12


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ('jsonPayload.message="task has ended"', "nothing says 'task has ended'"),
        ('jsonPayload.message=("task ended" OR "gone")', "nothing says 'gone'"),
        ('jsonPayload.message="task ended" jsonPayload.reason="x"', "no such entry has the field reason"),
        ("jsonPayload.nowhere=1", "no such entry has the field nowhere"),
        ('labels.task="x"', "entries have no labels.task"),
        ('httpRequest.url="x"', "entries have no httpRequest.url"),
        ('labels.function="ips-batch"', "there is no labels.function ips-batch"),
        ("severity>=WARN", "there is no severity WARN"),
        ('resource.type="cloud_function"', "there is no resource.type cloud_function"),
        ("some words", "'some' is no comparison"),
        ("-- nothing", "nothing is compared"),
    ],
)
def test_a_query_that_finds_nothing_is_noticed(query: str, problem: str) -> None:
    assert problem in saved.problems(query, SENTENCES)


def test_log_based_metrics_count_sentences_that_are_said() -> None:
    named = [
        text
        for values in re.findall(r"jsonPayload\.message=(.*)", METRICS)
        for text in re.findall(r'\\"(.+?)\\"', values)
    ]
    assert "task ended" in named
    assert [text for text in named if not any(re.fullmatch(each.pattern, text) for each in SENTENCES.values())] == []


def test_operators_are_told_what_to_do_about_every_error() -> None:
    words = check.RUNBOOK.read_text(encoding="utf-8")
    table = words[words.index("### What errors say") : words.index("## Alerts\n")]
    told = set(re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE))
    errors = {text for text, each in SENTENCES.items() if each.severities & {"ERROR", "CRITICAL"}}
    assert told == errors


def test_sentences_are_sentences() -> None:
    for text in SENTENCES:
        assert len(text) <= 90, text
        assert not text.removesuffix("...").endswith("."), text
        assert "%" not in text, text
        assert "{" not in text, text
        assert text[0].islower() or text.split()[0] in {"Jobs", "DaemonSet", "Pub/Sub"}, text


def test_one_sentence_has_one_severity_but_where_a_bug_may_be_behind_it() -> None:
    several = {text for text, each in SENTENCES.items() if len(each.severities - {"DEBUG"}) > 1}
    assert several == {"message will be delivered again", "task accepted but not started, the tracker will"}


def test_what_is_said_is_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(
        """
def act(a):
    fields = {"first": 1}
    fields["second"] = 2
    fields |= {"third": 3}
    logger.warning("one thing", extra={**fields, "fourth": 4})
    logger.exception(f"{a} was {a}", extra={k: v for k, v in fields.items()})
    logger.info(step.reason)
    logger.log(logging.DEBUG if a else logging.ERROR, "perhaps")

def other():
    return Step(1, reason="settled") if 1 else Step(1, (), "opened")
"""
    )
    found = said({"x": tmp_path})
    common = Sentence().fields
    assert {text: (each.severities, each.fields - common) for text, each in found.items()} == {
        "one thing": ({"WARNING"}, {"first", "second", "third", "fourth"}),
        "... was ...": ({"ERROR"}, {"first", "second", "third"}),
        "perhaps": ({"DEBUG", "ERROR"}, set()),
        "settled": ({"INFO"}, set()),
        "opened": ({"INFO"}, set()),
    }


def test_a_sentence_that_is_put_together_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text('def act(words):\n    logger.info("it is " + words)\n')
    with pytest.raises(ValueError, match=r"some\.py:2: a log entry without a constant sentence"):
        said({"x": tmp_path})
