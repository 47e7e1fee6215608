"""What the server says about itself: version, health, the resources it has and as much OpenAPI as kubectl asks for."""

from typing import Any

from deploy.local.cluster.kinds import GROUPS, KINDS, Kind

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "8e16b12fda5b1dccc41a6de48b3e356cc7d5048b",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.10",
    "compiler": "gc",
    "platform": "linux/amd64",
}
HEALTH = ("/healthz", "/livez", "/readyz")
_STATUS_VERBS = ["get", "patch", "update"]
_VERSIONS = ["v1"]


def answer(path: str) -> dict[str, Any] | None:
    """The document at a path, if there is one."""
    if path == "/version":
        return VERSION
    if path == "/api":
        return {"kind": "APIVersions", "versions": _VERSIONS, "serverAddressByClientCIDRs": []}
    if path == "/apis":
        groups = [_group(group) for group in GROUPS if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "/openapi/v3":
        paths = ["api/v1", *(f"apis/{group}/v1" for group in GROUPS if group)]
        return {"paths": {one: {"serverRelativeURL": f"/openapi/v3/{one}"} for one in paths}}
    for group in GROUPS:
        prefix = f"apis/{group}/v1" if group else "api/v1"
        if path == f"/{prefix}":
            return _resources(group)
        if path == f"/openapi/v3/{prefix}":
            return _openapi(group, prefix)
        if group and path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
    return None


def _group(group: str) -> dict[str, Any]:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resources(group: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        if kind.group == group:
            found += _resource(kind)
    return {
        "kind": "APIResourceList",
        **({"apiVersion": "v1"} if group else {}),
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": found,
    }


def _resource(kind: Kind) -> list[dict[str, Any]]:
    named = {"namespaced": kind.namespaced, "kind": kind.kind}
    main: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        **named,
        "verbs": list(kind.verbs),
    }
    if kind.short:
        main["shortNames"] = list(kind.short)
    if kind.categories:
        main["categories"] = list(kind.categories)
    if kind.storage_hash:
        main["storageVersionHash"] = kind.storage_hash
    if not kind.status:
        return [main]
    return [main, {"name": f"{kind.plural}/status", "singularName": "", **named, "verbs": _STATUS_VERBS}]


def _openapi(group: str, prefix: str) -> dict[str, Any]:
    """Enough for kubectl to see that the server validates fields itself."""
    paths = {}
    parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    for kind in KINDS:
        if kind.group == group:
            where = (
                f"/{prefix}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"/{prefix}/{kind.plural}"
            )
            gvk = {"group": group, "version": "v1", "kind": kind.kind}
            patch = {"parameters": [parameter], "x-kubernetes-group-version-kind": gvk, "responses": {}}
            paths[f"{where}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]}, "paths": paths}
