"""What is left out is written down for people."""

from pathlib import Path

from deploy.local.cluster import limits

PAGE = (Path(__file__).parents[3] / "docs" / "simulated-cluster.md").read_text()


def test_the_page_names_everything_that_is_not_emulated() -> None:
    text = " ".join(PAGE.split())
    fields = (*limits._JOB_FIELDS, *limits._POD_FIELDS)
    names = [*(plural for _, plural in limits.RESOURCES), *limits.SUBRESOURCES, *fields]
    assert [name for name in names if name not in text] == []


def test_every_limit_has_a_reason() -> None:
    tables = (limits.RESOURCES, limits.SUBRESOURCES, limits.REQUESTS, limits._JOB_FIELDS, limits._POD_FIELDS)
    assert all(why for table in tables for why in table.values())
