"""Label and field selectors, with the refusals of a real server for those that do not parse."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deploy.local.cluster.errors import bad_request
from deploy.local.cluster.kinds import DAEMONSETS, EVENTS, JOBS, NODES, PODS, SECRETS, Kind

Matcher = Callable[[dict[str, Any]], bool]

_REQUIREMENT = re.compile(
    r"\s*(?:(?P<not>!)\s*)?(?P<key>[^\s!=<>,()]+)\s*"
    r"(?:(?P<op>==|!=|=)\s*(?P<value>[^\s!=<>,()]*)|(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?\s*"
)
_FIELDS: dict[str, tuple[str, ...]] = {
    PODS.plural: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    NODES.plural: ("spec.unschedulable",),
    JOBS.plural: ("status.successful",),
    DAEMONSETS.plural: (),
    SECRETS.plural: ("type",),
    EVENTS.plural: (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One comma-separated part of a label selector."""

    key: str
    values: frozenset[str] | None
    negated: bool

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether the labels satisfy it."""
        found = labels.get(self.key)
        if self.values is None:
            return (found is None) if self.negated else (found is not None)
        return (found in self.values) != self.negated


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Read a label selector.

    Raises:
        ApiError: it does not parse.
    """
    found: list[Requirement] = []
    at = 0
    while at < len(text):
        match = _REQUIREMENT.match(text, at)
        if match is None:
            raise bad_request(f"unable to parse requirement: found '{text[at]}', expected: identifier")
        at = match.end()
        found.append(_requirement(match))
        if at < len(text):
            if text[at] != ",":
                raise bad_request(f"found '{text[at]}', expected: ',' or 'end of string'")
            at += 1
    return tuple(found)


def _requirement(match: re.Match[str]) -> Requirement:
    key = match["key"]
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(key, values, match["set"] == "notin")
    if match["op"]:
        return Requirement(key, frozenset((match["value"],)), match["op"] == "!=")
    return Requirement(key, None, match["not"] is not None)


def label_matcher(requirements: Iterable[Requirement]) -> Matcher | None:
    """A test of an object's labels; None where everything matches."""
    wanted = tuple(requirements)
    if not wanted:
        return None

    def matches(obj: dict[str, Any]) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(requirement.matches(labels) for requirement in wanted)

    return matches


def selector_object(selector: dict[str, Any] | None) -> tuple[Requirement, ...]:
    """The requirements of a `LabelSelector` object."""
    if not selector:
        return ()
    found = [Requirement(k, frozenset((v,)), negated=False) for k, v in (selector.get("matchLabels") or {}).items()]
    for part in selector.get("matchExpressions") or []:
        operator = part["operator"]
        values = frozenset(part.get("values") or ()) if operator in {"In", "NotIn"} else None
        found.append(Requirement(part["key"], values, operator in {"NotIn", "DoesNotExist"}))
    return tuple(found)


def field_matcher(kind: Kind, text: str) -> Matcher | None:
    """A test of an object's selectable fields; None where everything matches.

    Raises:
        ApiError: a field of this kind cannot be selected by.
    """
    wanted: list[tuple[str, str, bool]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        field, operator, value = match.groups()
        if field not in {"metadata.name", "metadata.namespace", *_FIELDS.get(kind.plural, ())}:
            said = "field label not supported: " if kind is PODS else f"{field!r} is not a known field selector: only "
            known = field if kind is PODS else '"metadata.name", "metadata.namespace"'
            raise bad_request(said + known)
        wanted.append((field, value, operator == "!="))
    if not wanted:
        return None

    def matches(obj: dict[str, Any]) -> bool:
        return all((field_value(obj, field) == value) != negated for field, value, negated in wanted)

    return matches


def field_value(obj: dict[str, Any], field: str) -> str:
    """A selectable field as the string that selectors compare."""
    if field == "status.successful":
        return str(obj.get("status", {}).get("succeeded", 0))
    if field == "source":
        return str(obj.get("source", {}).get("component", ""))
    value: Any = obj
    for step in field.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if field in {"spec.unschedulable", "spec.hostNetwork"}:
        return "true" if value else "false"
    return "" if value is None else str(value)


def every(*matchers: Matcher | None) -> Matcher | None:
    """All of the tests at once."""
    real = [matcher for matcher in matchers if matcher is not None]
    if len(real) < 2:
        return real[0] if real else None
    return lambda obj: all(matcher(obj) for matcher in real)
