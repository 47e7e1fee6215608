"""The rules objects must satisfy, in the words of a real API server."""

import re
from collections.abc import Iterator
from typing import Any

from deploy.local.cluster.errors import Cause
from deploy.local.cluster.kinds import DAEMONSETS, JOBS, NAMESPACES, PODS, Kind

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LABEL_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_DNS_LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_DNS_LABEL}')"
)
_LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)
_LABEL_NAME_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_LABEL_NAME}')"
)
_ANNOTATIONS_LIMIT = 256 * 1024
_JOB_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_JOB_IMMUTABLE = ("completions", "selector", "template", "completionMode")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
Causes = Iterator[Cause]


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def bad_value(field: str, value: Any, why: str) -> Cause:
    """A value that is not allowed."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {_quoted(value)}: {why}")


def _required(field: str, why: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", "Required value" + (f": {why}" if why else ""))


def _duplicate(field: str, value: str) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {_quoted(value)}")


def _unsupported(field: str, value: str, allowed: tuple[str, ...]) -> Cause:
    said = ", ".join(_quoted(one) for one in allowed)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {_quoted(value)}: supported values: {said}")


def validate(kind: Kind, obj: dict[str, Any]) -> list[Cause]:
    """Everything a new object does wrong."""
    found = list(_metadata(kind, obj["metadata"]))
    if kind is JOBS:
        found += _job(obj["spec"])
    elif kind is PODS:
        found += _pod_spec(obj["spec"], "spec")
    elif kind is DAEMONSETS:
        found += _daemonset(obj["spec"])
    return found


def validate_update(kind: Kind, new: dict[str, Any], old: dict[str, Any]) -> list[Cause]:
    """Everything a change of an object does wrong."""
    found = list(_metadata(kind, new["metadata"]))
    if kind is JOBS:
        found += _counts(new["spec"])
        for field in _JOB_IMMUTABLE:
            value = new["spec"].get(field)
            if value != old["spec"].get(field):
                shown = value if isinstance(value, int | str) else "{...}"
                found.append(bad_value(f"spec.{field}", shown, "field is immutable"))
    return found


def labels(values: dict[str, str], field: str) -> Causes:
    """Rules of label keys and values."""
    for key, value in values.items():
        name = key.rpartition("/")[2]
        if not re.fullmatch(_LABEL_NAME, name):
            yield bad_value(field, key, _LABEL_NAME_MESSAGE)
        elif len(name) > 63:
            yield bad_value(field, key, "name part must be no more than 63 bytes")
        if len(value) > 63:
            yield bad_value(field, value, "must be no more than 63 bytes")
        elif not re.fullmatch(_LABEL_VALUE, value):
            yield bad_value(field, value, _LABEL_VALUE_MESSAGE)


def _metadata(kind: Kind, meta: dict[str, Any]) -> Causes:
    name = meta.get("name", "")
    if not name:
        yield _required("metadata.name", "name or generateName is required")
    elif kind is NAMESPACES:
        if len(name) > 63:
            yield bad_value("metadata.name", name, "must be no more than 63 bytes")
        elif not re.fullmatch(_DNS_LABEL, name):
            yield bad_value("metadata.name", name, _DNS_LABEL_MESSAGE)
    elif len(name) > 253:
        yield bad_value("metadata.name", name, "must be no more than 253 bytes")
    elif kind.group != "rbac.authorization.k8s.io" and not re.fullmatch(_SUBDOMAIN, name):
        yield bad_value("metadata.name", name, _SUBDOMAIN_MESSAGE)
    yield from labels(meta.get("labels") or {}, "metadata.labels")
    annotations = meta.get("annotations") or {}
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        limit = f"may not be more than {_ANNOTATIONS_LIMIT} bytes"
        yield Cause("metadata.annotations", "FieldValueTooLong", f"Too long: {limit}")


def _counts(spec: dict[str, Any]) -> Causes:
    for field in _JOB_COUNTS:
        if spec.get(field, 0) < 0:
            yield bad_value(f"spec.{field}", spec[field], "must be greater than or equal to 0")


def _job(spec: dict[str, Any]) -> Causes:
    yield from _counts(spec)
    template = spec["template"]
    yield from labels((template.get("metadata") or {}).get("labels") or {}, "spec.template.labels")
    yield from _pod_spec(template["spec"], "spec.template.spec")
    if template["spec"]["restartPolicy"] not in {"OnFailure", "Never"}:
        yield _required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')


def _daemonset(spec: dict[str, Any]) -> Causes:
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    found = (spec["template"].get("metadata") or {}).get("labels") or {}
    yield from labels(found, "spec.template.labels")
    if not spec.get("selector"):
        yield _required("spec.selector")
    elif not selector.items() <= found.items():
        yield bad_value("spec.template.metadata.labels", "{...}", "`selector` does not match template `labels`")
    yield from _pod_spec(spec["template"]["spec"], "spec.template.spec")
    if spec["template"]["spec"]["restartPolicy"] != "Always":
        found_policy = spec["template"]["spec"]["restartPolicy"]
        yield _unsupported("spec.template.spec.restartPolicy", found_policy, ("Always",))


def _pod_spec(spec: dict[str, Any], path: str) -> Causes:
    volumes: set[str] = set()
    for i, volume in enumerate(spec.get("volumes") or ()):
        yield from _named(volume, f"{path}.volumes[{i}]", volumes)
        if "image" in volume and not volume["image"].get("reference"):
            yield _required(f"{path}.volumes[{i}].image.reference")
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            yield from _container(container, f"{path}.{field}[{i}]", names, volumes)
    if not spec.get("containers"):
        yield _required(f"{path}.containers")
    if spec["terminationGracePeriodSeconds"] < 0:
        grace = spec["terminationGracePeriodSeconds"]
        yield bad_value(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")
    yield from labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")


def _container(container: dict[str, Any], path: str, names: set[str], volumes: set[str]) -> Causes:
    yield from _named(container, path, names)
    image = container.get("image", "")
    if not image:
        yield _required(f"{path}.image")
    elif image != image.strip():
        yield bad_value(f"{path}.image", image, "must not have leading or trailing whitespace")
    if container["imagePullPolicy"] not in _PULL_POLICIES:
        yield _unsupported(f"{path}.imagePullPolicy", container["imagePullPolicy"], _PULL_POLICIES)
    for i, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            missing = _quoted(mount.get("name", ""))
            yield Cause(f"{path}.volumeMounts[{i}].name", "FieldValueNotFound", f"Not found: {missing}")
        if not mount.get("mountPath"):
            yield _required(f"{path}.volumeMounts[{i}].mountPath")


def _named(part: dict[str, Any], path: str, taken: set[str]) -> Causes:
    name = part.get("name", "")
    if not name:
        yield _required(f"{path}.name")
    elif len(name) > 63:
        yield bad_value(f"{path}.name", name, "must be no more than 63 bytes")
    elif not re.fullmatch(_DNS_LABEL, name):
        yield bad_value(f"{path}.name", name, _DNS_LABEL_MESSAGE)
    elif name in taken:
        yield _duplicate(f"{path}.name", name)
    taken.add(name)
