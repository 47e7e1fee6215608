"""Pod Security levels of namespaces: what a pod must not ask for, in the admission plugin's words."""

from collections.abc import Callable
from typing import Any

_PREFIX = "pod-security.kubernetes.io/"
_RUNTIME_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_RESTRICTED_VOLUMES = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "image",
    ]
)
_SECCOMP = ("RuntimeDefault", "Localhost")
Container = dict[str, Any]
Check = Callable[[dict[str, Any], list[Container]], str | None]


def levels(labels: dict[str, str]) -> tuple[str, str]:
    """The namespace's enforced and warned level; the warned one follows the enforced one unless it is set."""
    enforce = labels.get(_PREFIX + "enforce", "privileged")
    return enforce, labels.get(_PREFIX + "warn", enforce)


def violations(level: str, spec: dict[str, Any]) -> str:
    """What a pod does that the level forbids; empty where it may run."""
    if level == "privileged":
        return ""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    checks = (*_BASELINE, *_RESTRICTED) if level == "restricted" else (*_BASELINE, _added_capabilities)
    return ", ".join(found for check in checks if (found := check(spec, containers)))


def _security(part: dict[str, Any]) -> dict[str, Any]:
    return part.get("securityContext") or {}


def _names(containers: list[Container], bad: Callable[[Container], bool]) -> str:
    """`container "a"` or `containers "a", "b"` of those that are bad."""
    found = [f'"{container["name"]}"' for container in containers if bad(container)]
    return ("" if not found else "container " if len(found) == 1 else "containers ") + ", ".join(found)


def _host_namespaces(spec: dict[str, Any], _containers: list[Container]) -> str | None:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return f"host namespaces ({', '.join(found)})" if found else None


def _host_path(spec: dict[str, Any], _containers: list[Container]) -> str | None:
    found = [f'"{volume["name"]}"' for volume in spec.get("volumes") or () if "hostPath" in volume]
    return f"hostPath volumes (volume{'s' if len(found) > 1 else ''} {', '.join(found)})" if found else None


def _host_ports(_spec: dict[str, Any], containers: list[Container]) -> str | None:
    found = _names(containers, lambda c: any(port.get("hostPort") for port in c.get("ports") or ()))
    return f"hostPort ({found} uses a hostPort)" if found else None


def _privileged(_spec: dict[str, Any], containers: list[Container]) -> str | None:
    found = _names(containers, lambda c: bool(_security(c).get("privileged")))
    return f"privileged ({found} must not set securityContext.privileged=true)" if found else None


def _added(container: Container) -> list[str]:
    return (_security(container).get("capabilities") or {}).get("add") or []


def _added_capabilities(_spec: dict[str, Any], containers: list[Container]) -> str | None:
    found = _names(containers, lambda c: not set(_added(c)) <= _RUNTIME_CAPABILITIES)
    added = sorted({f'"{one}"' for c in containers for one in _added(c) if one not in _RUNTIME_CAPABILITIES})
    if not found:
        return None
    return f"non-default capabilities ({found} must not include {', '.join(added)} in securityContext.capabilities.add)"


def _escalation(_spec: dict[str, Any], containers: list[Container]) -> str | None:
    found = _names(containers, lambda c: _security(c).get("allowPrivilegeEscalation") is not False)
    must = "must set securityContext.allowPrivilegeEscalation=false"
    return f"allowPrivilegeEscalation != false ({found} {must})" if found else None


def _capabilities(_spec: dict[str, Any], containers: list[Container]) -> str | None:
    def keeps(container: Container) -> bool:
        return "ALL" not in ((_security(container).get("capabilities") or {}).get("drop") or [])

    found = _names(containers, keeps)
    if found:
        return f'unrestricted capabilities ({found} must set securityContext.capabilities.drop=["ALL"])'
    adding = _names(containers, lambda c: not set(_added(c)) <= {"NET_BIND_SERVICE"})
    added = sorted({f'"{one}"' for c in containers for one in _added(c) if one != "NET_BIND_SERVICE"})
    must = f"must not include {', '.join(added)} in securityContext.capabilities.add"
    return f"unrestricted capabilities ({adding} {must})" if adding else None


def _volume_types(spec: dict[str, Any], _containers: list[Container]) -> str | None:
    found = [(v["name"], t) for v in spec.get("volumes") or () for t in v.keys() - {"name"} - _RESTRICTED_VOLUMES]
    if not found:
        return None
    names = ", ".join(f'"{name}"' for name, _ in found)
    types = ", ".join(f'"{kind}"' for kind in sorted({kind for _, kind in found}))
    said = (
        f"volumes {names} use restricted volume types"
        if len(found) > 1
        else f"volume {names} uses restricted volume type"
    )
    return f"restricted volume types ({said} {types})"


def _non_root(spec: dict[str, Any], containers: list[Container]) -> str | None:
    pod = _security(spec).get("runAsNonRoot")
    if pod is False:
        return "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    explicit = _names(containers, lambda c: _security(c).get("runAsNonRoot") is False)
    if explicit:
        return f"runAsNonRoot != true ({explicit} must not set securityContext.runAsNonRoot=false)"
    found = "" if pod else _names(containers, lambda c: not _security(c).get("runAsNonRoot"))
    return f"runAsNonRoot != true (pod or {found} must set securityContext.runAsNonRoot=true)" if found else None


def _root_user(spec: dict[str, Any], containers: list[Container]) -> str | None:
    bad = ["pod"] if _security(spec).get("runAsUser") == 0 else []
    found = _names(containers, lambda c: _security(c).get("runAsUser") == 0)
    said = " and ".join([*bad, *([found] if found else [])])
    return f"runAsUser=0 ({said} must not set runAsUser=0)" if said else None


def _seccomp(spec: dict[str, Any], containers: list[Container]) -> str | None:
    pod = (_security(spec).get("seccompProfile") or {}).get("type") in _SECCOMP

    def bad(container: Container) -> bool:
        profile = _security(container).get("seccompProfile")
        return profile.get("type") not in _SECCOMP if profile else not pod

    found = _names(containers, bad)
    must = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return f"seccompProfile (pod or {found} {must})" if found else None


_BASELINE: tuple[Check, ...] = (_host_namespaces, _host_path, _host_ports, _privileged)
_RESTRICTED: tuple[Check, ...] = (_escalation, _capabilities, _volume_types, _non_root, _root_user, _seccomp)
