"""Saved queries of Cloud Logging: they name fields and sentences that the code writes.

https://cloud.google.com/logging/docs/view/logging-query-language
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.monitoring.said import Sentence

_BLOCK = re.compile(r"^```logging\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMPARISON = re.compile(
    r"""(?P<path>[A-Za-z][\w.]*)\s*(?P<operator>!=|>=|<=|=~|!~|=|:|>|<)\s*
        (?P<value>\((?:[^()"]|"[^"]*")*\)|"[^"]*"|\S+)""",
    re.VERBOSE,
)
_STRING = re.compile(r'"([^"]*)"')
_KNOWN = {
    "resource.type": {"cloud_run_revision", "k8s_container"},
    "labels.function": {"api", "batch", "tracker", "release", "notify", "bridge"},
    "severity": {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"},
}
_FREE = frozenset(
    {
        "trace",
        "timestamp",
        "resource.labels.service_name",
        "resource.labels.namespace_name",
        *(f"labels.{name}" for name in ("taskId", "batch", "cluster", "requestId")),
        *(
            f"httpRequest.{name}"
            for name in ("requestMethod", "requestUrl", "status", "latency", "userAgent", "remoteIp")
        ),
    }
)
"""Fields with values of the installation's own, as `ips_common/logs.py` and the api write them."""


def queries(page: Path) -> list[str]:
    """The queries of a page: its blocks of `logging`."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def problems(query: str, sentences: Mapping[str, Sentence]) -> list[str]:
    """Say what a query names that the code does not write."""
    plain = "\n".join(line for line in query.splitlines() if not line.lstrip().startswith("--"))
    comparisons = list(_COMPARISON.finditer(plain))
    rest = _COMPARISON.sub(" ", plain)
    found = [f"{word!r} is no comparison" for word in rest.split() if word not in {"AND", "OR", "NOT", "(", ")"}]
    meant: list[Sentence] = []
    for match in comparisons:
        if match["path"] == "jsonPayload.message":
            for text in _STRING.findall(match["value"]):
                known = [each for each in sentences.values() if re.fullmatch(each.pattern, text)]
                meant += known
                if not known:
                    found.append(f"nothing says {text!r}")
    for match in comparisons:
        found += _of_comparison(match["path"], match["value"], meant or list(sentences.values()))
    return found + ([] if comparisons else ["nothing is compared"])


def _of_comparison(path: str, value: str, meant: list[Sentence]) -> Iterator[str]:
    if path in _KNOWN:
        yield from (
            f"there is no {path} {word}" for word in re.findall(r"[\w-]+", value) if word not in {*_KNOWN[path], "OR"}
        )
    elif path.startswith("jsonPayload."):
        name = path.split(".")[1]
        if not any(name in sentence.fields for sentence in meant):
            yield f"no such entry has the field {name}"
    elif path not in _FREE:
        yield f"entries have no {path}"
