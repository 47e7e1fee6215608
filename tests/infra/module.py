"""The Terraform module as text: its files, variables and outputs."""

import json
import re
from functools import cache
from typing import Any

import yaml

from ips_common.topology import Topology, load_topology
from tests.infra.extract import ROOT

INFRA = ROOT / "infra"

_BLOCK = re.compile(r'^(\w+)(?: "(\w+)")?(?: "(\w+)")? \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


@cache
def files() -> dict[str, str]:
    """Return the module's own files, without examples and tests."""
    return {path.name: path.read_text("utf-8") for path in sorted(INFRA.glob("*.tf"))}


def blocks(kind: str) -> dict[str, str]:
    """Return the top-level blocks of a kind by their labels, such as `google_pubsub_topic.this` or `region`."""
    return {
        ".".join(label for label in match.groups()[1:3] if label): match[4]
        for text in files().values()
        for match in _BLOCK.finditer(text)
        if match[1] == kind
    }


@cache
def topology() -> Topology:
    """Return the topology."""
    return load_topology(INFRA / "topology.yaml")


@cache
def needs() -> dict[str, Any]:
    """Return `functions.yaml`."""
    content: dict[str, Any] = yaml.safe_load((INFRA / "functions.yaml").read_text("utf-8"))
    return content


@cache
def indexes() -> dict[str, Any]:
    """Return `firestore.indexes.json`."""
    content: dict[str, Any] = json.loads((INFRA / "firestore.indexes.json").read_text("utf-8"))
    return content
