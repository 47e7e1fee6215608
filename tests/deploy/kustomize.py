"""The manifests of `deploy/k8s`, as kubectl builds them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parents[2] / "deploy" / "k8s"
OVERLAYS = ("base", "overlays/gke", "overlays/autopilot", "overlays/in-cluster")
IN_CLUSTER, AUTOPILOT = "overlays/in-cluster", "overlays/autopilot"
COMPONENTS = ("google-federation", "google-key", "google-workload-identity")

Object = dict[str, Any]


@cache
def _built(folder: Path) -> str:
    kubectl = shutil.which("kubectl")
    assert kubectl, (
        "kubectl is not installed; any release from 1.27 on will do (https://kubernetes.io/docs/tasks/tools/)"
    )
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: str | Path) -> list[Object]:
    """All objects of a folder of `deploy/k8s`, or of one elsewhere."""
    return [document for document in yaml.safe_load_all(_built(K8S / folder)) if document]


def with_component(component: str, folder: Path) -> list[Object]:
    """All objects of the overlay `in-cluster` with a component, as an overlay of one's own has it."""
    where = Path(os.path.relpath(K8S, folder.resolve()))
    content = {
        "resources": [str(where / "overlays" / "in-cluster")],
        "components": [str(where / "components" / component)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return build(folder)


def of_kind(objects: Sequence[Object], *kinds: str) -> Iterator[Object]:
    """Those of some kinds."""
    return (obj for obj in objects if obj["kind"] in kinds)


def pod_of(obj: Object) -> Object | None:
    """The pod template of an object that makes pods."""
    match obj["kind"]:
        case "Deployment" | "Job" | "DaemonSet":
            template: Object = obj["spec"]["template"]
        case "CronJob":
            template = obj["spec"]["jobTemplate"]["spec"]["template"]
        case _:
            return None
    return template


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and a name."""
    (found,) = (obj for obj in of_kind(objects, kind) if obj["metadata"]["name"] == name)
    return found


def deployments() -> dict[str, Object]:
    """The functions' Deployments."""
    found = {obj["metadata"]["name"]: obj for obj in of_kind(build(IN_CLUSTER), "Deployment")}
    del found["bridge"]
    return found


def container_of(obj: Object) -> Object:
    """The only container of an object that makes pods."""
    pod = pod_of(obj)
    assert pod
    (container,) = pod["spec"]["containers"]
    found: Object = container
    return found


def environment(container: Object) -> dict[str, str | None]:
    """A container's own variables; None for what comes from a Secret."""
    return {each["name"]: each.get("value") for each in container.get("env", ())}


def given(objects: list[Object], container: Object) -> dict[str, str]:
    """What a container is given by ConfigMaps."""
    maps = {obj["metadata"]["name"]: obj["data"] for obj in of_kind(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for each in container.get("envFrom", ()):
        found |= maps[each["configMapRef"]["name"]]
    return found
