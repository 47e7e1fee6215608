"""Every manifest is what the API servers' own description allows, the oldest supported release's and the newest's.

The descriptions are those of Kubernetes releases, as JSON Schema without unknown fields, from `kubernetes-validate`.
"""

import importlib.util
import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.deploy.kustomize import COMPONENTS, OVERLAYS, Object, build, of_kind, with_component

PULLING = Path(__file__).parents[1] / "data" / "manifests"
OLDEST = "v1.33.0"
"""Pod Security is pinned to it, so nothing older is promised."""


@cache
def schemas() -> Path:
    found = importlib.util.find_spec("kubernetes_validate")
    assert found, "kubernetes-validate is not installed: make setup"
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "kubernetes-json-schema"


def newest() -> str:
    versions = (folder.name.partition("-")[0] for folder in schemas().glob("v*-local-strict"))
    return max(versions, key=lambda version: [int(part) for part in version.removeprefix("v").split(".")])


@cache
def validator(version: str, api_version: str, kind: str) -> Any:
    folder = schemas() / f"{version}-local-strict"
    group, _, rest = api_version.rpartition("/")
    stem = f"{kind.lower()}-{group.partition('.')[0]}-{rest}" if group else f"{kind.lower()}-{rest}"
    schema = json.loads((folder / f"{stem}.json").read_bytes())
    return jsonschema_rs.Draft202012Validator(schema, registry=registry(folder))


@cache
def registry(folder: Path) -> jsonschema_rs.Registry:
    definitions = json.loads((folder / "_definitions.json").read_bytes())
    return jsonschema_rs.Registry([(definitions["$id"], definitions)])


def objections(obj: Object, version: str) -> list[str]:
    """What an API server of a release would have against an object."""
    name = f"{obj['kind']} {obj['metadata']['name']}"
    found = validator(version, obj["apiVersion"], obj["kind"]).iter_errors(obj)
    return [f"{name}: {'.'.join(map(str, error.instance_path))}: {error.message}" for error in found]


@pytest.mark.parametrize("release", ["oldest", "newest"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_keep_to_the_schema(overlay: str, release: str) -> None:
    version = OLDEST if release == "oldest" else newest()
    assert [said for obj in build(overlay) for said in objections(obj, version)] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_keep_to_the_schema(component: str, tmp_path: Path) -> None:
    objects = with_component(component, tmp_path)
    assert [said for obj in objects for said in objections(obj, OLDEST)] == []


@pytest.mark.parametrize("file", sorted(PULLING.glob("*.json")), ids=lambda file: file.stem)
def test_what_the_functions_create_keeps_to_the_schema(file: Path) -> None:
    assert objections(json.loads(file.read_bytes()), OLDEST) == []
    assert objections(json.loads(file.read_bytes()), newest()) == []


def unknown(container: Object) -> None:
    container["imagePullPolcy"] = "Always"


def missing(container: Object) -> None:
    del container["name"]


def wrong(container: Object) -> None:
    container["ports"] = [{"containerPort": "8080"}]


@pytest.mark.parametrize("spoil", [unknown, missing, wrong])
def test_mistakes_deep_down_are_found(spoil: Callable[[Object], None]) -> None:
    obj = deepcopy(next(of_kind(build("overlays/in-cluster"), "Deployment")))
    spoil(obj["spec"]["template"]["spec"]["containers"][0])
    assert objections(obj, newest())
