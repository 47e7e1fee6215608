"""Replay every recorded request against the simulated cluster and compare the answers.

`python -m tests.golden.replay` prints what differs and ends with `N/N recorded steps match`.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.cluster.running import RunningCluster, running_cluster
from tests.golden.client import Client, Reply
from tests.golden.normalize import HEADERS, Normalizer, differences
from tests.golden.recordings import Step, steps
from tests.golden.setups import SETUPS

# As many as the recorded cluster had: messages and counts name them.
NODES = 1000
SCENARIO = Path(__file__).with_name("recorder.yaml")
# Where the recording was taken after some time, the replay asks again until the answer is the recorded one.
_WAIT_SECONDS = 20.0
_POLL_SECONDS = 0.02
_LEARNED_FIELDS = ("uid", "resourceVersion", "continue")


@dataclass(frozen=True, slots=True)
class Result:
    """How one step went; no differences means that it matches."""

    step: Step
    differences: list[str]


class Replay:
    """One run through the recordings, in order, against one cluster."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._client = Client(cluster)
        # What the recorded UIDs, versions and continue tokens are called in this run.
        self._names: dict[str, str] = {}

    def run(self, recorded: list[Step]) -> Iterator[Result]:
        """Replay the steps one after the other."""
        for step in recorded:
            setup = SETUPS.get((step.scenario, step.index))
            if setup is not None:
                setup(self._client, step, self._learn)
            yield Result(step, self._step(step))

    def _step(self, step: Step) -> list[str]:
        deadline = time.monotonic() + (_WAIT_SECONDS if step.method == "GET" and not step.stream else 0)
        while True:
            try:
                reply = self._client.send(
                    step.method,
                    self._renamed(step.path),
                    user=step.user,
                    body=self._renamed(step.body),
                    content_type=step.content_type,
                )
            except OSError as error:
                return [f"no answer: {error}"]
            found = _compare(step, reply)
            if not found or time.monotonic() >= deadline:
                break
            time.sleep(_POLL_SECONDS)
        self._learn(step.answer, reply.body)
        return found

    def _learn(self, recorded: Any, found: Any, field: str = "") -> None:
        """Remember what recorded names are called here, wherever both answers have one."""
        if isinstance(recorded, dict) and isinstance(found, dict):
            for name in recorded.keys() & found.keys():
                self._learn(recorded[name], found[name], name)
        elif isinstance(recorded, list) and isinstance(found, list):
            for pair in zip(recorded, found, strict=False):
                self._learn(*pair)
        elif field in _LEARNED_FIELDS and isinstance(recorded, str) and isinstance(found, str):
            self._names[recorded] = found

    def _renamed(self, value: Any) -> Any:
        """A recorded request with this run's names."""
        if isinstance(value, dict):
            return {name: self._renamed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        if isinstance(value, str):
            if value in self._names:
                return self._names[value]
            path, mark, query = value.partition("?")
            if mark and path.startswith("/"):
                pairs = (pair.partition("=") for pair in query.split("&"))
                return path + mark + "&".join(f"{k}{eq}{self._names.get(v, v)}" for k, eq, v in pairs)
        return value


def _compare(step: Step, reply: Reply) -> list[str]:
    found = differences(step.status, reply.status, "status")
    if step.headers is not None:
        recorded = {name: step.headers.get(name) for name in HEADERS}
        found += differences(recorded, {name: reply.headers.get(name) for name in HEADERS}, "headers")
    body = reply.body
    if step.stream:
        body = body if isinstance(body, list) else [body]
        found += _versions_go_back(body)
    return found + differences(Normalizer().value(step.answer), Normalizer().value(body))


def _versions_go_back(events: list[Any]) -> list[str]:
    """A watch shows an object's versions in their order."""
    last: dict[str, int] = {}
    lines = []
    for event in events:
        meta = event["object"].get("metadata", {})
        name, version = meta.get("name", ""), int(meta.get("resourceVersion", "0"))
        if name and version <= last.get(name, 0):
            lines.append(f"version {version} of {name} comes after {last[name]}")
        last[name] = version
    return lines


def main() -> int:
    """Replay everything; 0 if all of it matches."""
    recorded = steps()
    matching = 0
    with (
        tempfile.TemporaryDirectory() as directory,
        running_cluster(Path(directory), nodes=NODES, scenario=SCENARIO) as cluster,
    ):
        for result in Replay(cluster).run(recorded):
            matching += not result.differences
            if result.differences:
                sys.stdout.write("\n    ".join([result.step.id, *result.differences]) + "\n")
    sys.stdout.write(f"{matching}/{len(recorded)} recorded steps match\n")
    return 0 if matching == len(recorded) else 1


if __name__ == "__main__":
    sys.exit(main())
