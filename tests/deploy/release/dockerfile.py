"""`deploy/Dockerfile` as its steps, and what a builder does with them as far as it can be done without one."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: its name, and the rest of its line."""

    name: str
    text: str

    def command(self) -> list[str]:
        """The arguments of an instruction in its JSON form."""
        parsed: list[str] = json.loads(self.text)
        return parsed


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, name: str) -> list[Step]:
        """The instructions of one name."""
        return [step for step in self.steps if step.name == name]

    def one(self, name: str) -> Step:
        """The only instruction of its name."""
        (step,) = self.all(name)
        return step

    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return {name: value for step in self.all("ENV") for name, value in _pairs(step.text)}

    def labels(self) -> dict[str, str]:
        """What LABEL sets."""
        return {name: value for step in self.all("LABEL") for name, value in _pairs(step.text)}


@dataclass(frozen=True)
class Dockerfile:
    """The build arguments before the first stage, and the stages."""

    arguments: Mapping[str, str]
    stages: tuple[Stage, ...]


def parse(path: Path) -> Dockerfile:
    """Read a Dockerfile of the plain kind: no heredocs, no directives."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for step in _steps(path.read_text("utf-8")):
        if step.name == "FROM":
            base, _, name = step.text.partition(" AS ")
            stages.append(Stage(_expand(base, arguments), name))
        elif not stages:
            assert step.name == "ARG"
            arguments.update(_pairs(step.text))
        else:
            stages[-1].steps.append(step)
    return Dockerfile(arguments, tuple(stages))


def _steps(text: str) -> Iterator[Step]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield Step(name, rest.strip())


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, plain in re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S*))', text):
        yield name, quoted or plain


def _expand(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)
