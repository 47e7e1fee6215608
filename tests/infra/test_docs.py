"""The deployment guide names what there is."""

import re

import pytest

from tests.infra import needs
from tests.infra.extract import ROOT
from tests.infra.module import blocks
from tests.infra.module import needs as declared

TEXT = (ROOT / "docs" / "deployment.md").read_text("utf-8").partition("\n## In any cluster")[0]
PATHS = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT) + re.findall(r"(?:kustomize |`)(deploy/\S+?)[` ]", TEXT)


def test_every_variable_is_explained_and_no_other() -> None:
    table = TEXT.partition("| variable | default | what |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert sorted(name for cell in first for name in re.findall(r"`(\w+)`", cell)) == sorted(blocks("variable"))


def test_parts_of_variables_exist() -> None:
    variables = blocks("variable")
    parts = re.findall(r"`(\w+)\.(\w+)`", TEXT)
    named = [(name, part) for name, part in parts if name in variables]
    assert ("access", "writers") in named
    for name, part in named:
        assert re.search(rf"^ +{part} += optional\(", variables[name], re.MULTILINE), f"{name}.{part}"


def test_outputs_exist() -> None:
    named = set(re.findall(r"terraform output -raw (\w+)|module\.ips\.(\w+)|[Oo]utput `(\w+)`", TEXT))
    flat = {name for each in named for name in each if name}
    assert {"api_url", "kubernetes_bindings", "dashboard", "functions", "subscriptions"} <= flat
    assert flat <= blocks("output").keys()


def test_settings_exist_and_can_be_set() -> None:
    named = set(re.findall(r"\b(?:IPS|LOG|MAX)_[A-Z_]+\b", TEXT)) - {"IPS_URL", "IPS_TOKEN"}
    can_be_set = set(declared()["settings"])
    secrets = {name for each in declared()["functions"].values() for name in each["secrets"]}
    assert named <= can_be_set | secrets
    assert named <= set(needs.variables().values())


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_files_exist(path: str) -> None:
    start = ROOT if path.startswith("deploy/") else ROOT / "docs"
    assert (start / path).exists()


def test_headings_that_are_linked_exist() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in (ROOT / "docs" / "deployment.md").read_text("utf-8").splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings


def test_words_that_are_explained_are_said() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "ips_common").rglob("*.py"))
    table = TEXT.partition("| it says | do |")[2].partition("\n\n")[0]
    said = [words for words in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE) if "..." not in words]
    assert len(said) == 3
    for words in said:
        assert words in code, words
