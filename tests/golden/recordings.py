"""The recorded requests and answers of a real control plane."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DIRECTORY = Path(__file__).parents[1] / "data" / "kube-golden"


@dataclass(frozen=True, slots=True)
class Step:
    """One request and what a real server answered."""

    scenario: str
    index: int
    what: str
    method: str
    path: str
    user: str
    content_type: str
    body: Any
    status: int
    headers: dict[str, str] | None
    answer: Any
    stream: bool

    @property
    def id(self) -> str:
        """For people and pytest."""
        return f"{self.scenario}[{self.index}] {self.what}"


def steps() -> list[Step]:
    """Every recorded step, in the order of recording."""
    found = []
    for path in sorted(_DIRECTORY.glob("*.json")):
        recorded = json.loads(path.read_bytes())
        for index, step in enumerate(recorded["steps"]):
            request, response = step["request"], step["response"]
            stream = "events" in response
            found.append(
                Step(
                    scenario=recorded["scenario"],
                    index=index,
                    what=step["what"],
                    method=request["method"],
                    path=request["path"],
                    user=request["user"],
                    content_type=request.get("contentType", ""),
                    body=request.get("body"),
                    status=response["status"],
                    headers=response.get("headers"),
                    answer=response["events"] if stream else response["body"],
                    stream=stream,
                )
            )
    return found
