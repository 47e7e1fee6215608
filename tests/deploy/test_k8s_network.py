"""What goes out of `ips-system` gets to where it has to: names, API servers, and the metadata server of GKE."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kustomize import IN_CLUSTER, K8S, Object, build, deployments, named, of_kind, pod_of, with_component

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
METADATA = {"169.254.169.252/32": {987, 988}, "169.254.169.254/32": {80, 8080}}
"""Where GKE's metadata server is, with Calico and with Dataplane V2."""


def ports(rule: Object) -> dict[str, set[int]]:
    """The ports of a rule, by protocol."""
    found: dict[str, set[int]] = {}
    for each in rule["ports"]:
        found.setdefault(each["protocol"], set()).add(each["port"])
    return found


def chosen(objects: list[Object], selector: dict[str, Any]) -> set[str]:
    """The names of what a policy's selector chooses in ips-system."""
    names = set()
    for obj in objects:
        if not (pod := pod_of(obj)) or obj["metadata"]["namespace"] != "ips-system":
            continue
        labels = pod["metadata"]["labels"]
        if selector.get("matchLabels", {}).items() <= labels.items() and all(
            expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
            for expression in selector.get("matchExpressions", ())
        ):
            names.add(obj["metadata"]["name"])
    return names


def test_workload_identity_opens_the_metadata_server_to_all_that_call_google(tmp_path: Path) -> None:
    objects = with_component("google-workload-identity", tmp_path)
    policy = named(objects, "NetworkPolicy", "metadata-out")
    assert (policy["metadata"]["namespace"], policy["spec"]["policyTypes"]) == ("ips-system", ["Egress"])
    assert chosen(objects, policy["spec"]["podSelector"]) == {*deployments(), "bridge", "ips-tracker-minute"}
    opened: dict[str, set[int]] = {}
    for rule in policy["spec"]["egress"]:
        (to,) = rule["to"]
        opened[to["ipBlock"]["cidr"]] = ports(rule)["TCP"]
        assert ports(rule).keys() == {"TCP"}
    assert opened == METADATA


def test_names_and_api_servers_can_be_asked_by_all() -> None:
    """By the ports they listen on: network plugins look at a packet after a Service's address was rewritten."""
    objects = build(IN_CLUSTER)
    policy = named(objects, "NetworkPolicy", "https-out")
    everything = {obj["metadata"]["name"] for obj in of_kind(objects, "Deployment", "CronJob")}
    assert chosen(objects, policy["spec"]["podSelector"]) == everything
    names, https = (ports(rule) for rule in policy["spec"]["egress"])
    assert names == {"UDP": {53, 5353}, "TCP": {53, 5353}}
    assert https == {"TCP": {443, 6443, 8443, 16443}}
    said = re.search(r"names \(ports (.*?)\) and HTTPS \((.*?)\)", GUIDE)
    assert said
    assert [{int(port) for port in re.findall(r"\d+", text)} for text in said.groups()] == [names["TCP"], https["TCP"]]


def test_the_guide_s_patch_adds_a_port(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(patches:.*?)```", GUIDE, re.DOTALL)
    resources = {"resources": [os.path.relpath(K8S / "base", tmp_path.resolve())]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(resources) + text, encoding="utf-8")
    _, https = (ports(rule) for rule in named(build(tmp_path), "NetworkPolicy", "https-out")["spec"]["egress"])
    assert https == {"TCP": {443, 6443, 8443, 16443, 7443}}


def test_the_guide_names_each_way_s_component() -> None:
    table = re.findall(r"^\| (?:workload identity|federation|a key) \|.*?component `([\w-]+)`", GUIDE, re.MULTILINE)
    assert table == ["google-workload-identity", "google-federation", "google-key"]
