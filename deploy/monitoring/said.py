"""What the code says in logs, read from its source: each sentence with its severities and fields."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLACES = ("functions", "ips_common", "deploy/k8s")
_LEVELS = {
    "debug": {"DEBUG"},
    "info": {"INFO"},
    "warning": {"WARNING"},
    "error": {"ERROR"},
    "exception": {"ERROR"},
    "critical": {"CRITICAL"},
}
_EVERYWHERE = frozenset({"message", "logger", "stack_trace", "truncated", "messageId", "topic", "attempts"})
"""What the formatter adds, and what deliveries of messages bind."""


@dataclass(slots=True)
class Sentence:
    """One constant sentence."""

    severities: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=lambda: set(_EVERYWHERE))
    places: set[str] = field(default_factory=set)
    pattern: str = ""


def said(folders: Mapping[str, Path] | None = None) -> dict[str, Sentence]:
    """All sentences; one with gaps, such as an f-string, has `...` for them.

    Raises:
        ValueError: a sentence is neither a constant nor made of constants.
    """
    places = {name: ROOT / name for name in _PLACES} if folders is None else folders
    found: dict[str, Sentence] = defaultdict(Sentence)
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for top in places.values() for path in top.rglob("*.py")}
    reasons = [text for tree in trees.values() for text in _step_reasons(tree)]
    for path, tree in trees.items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for call in _logger_calls(function):
                    _note(found, call, function, path, reasons)
    return dict(found)


def _logger_calls(function: ast.FunctionDef) -> Iterator[ast.Call]:
    inner = {
        node
        for each in ast.walk(function)
        if isinstance(each, ast.FunctionDef) and each is not function
        for node in ast.walk(each)
    }
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"))) if node not in inner:
                yield node
            case _:
                pass


def _note(
    found: dict[str, Sentence], call: ast.Call, function: ast.FunctionDef, path: Path, reasons: list[str]
) -> None:
    level = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    for text, pattern in _texts(call.args[level == "log"], reasons, path):
        sentence = found[text]
        sentence.severities |= _levels(function) if level == "log" else _LEVELS[level]
        sentence.places.add(path.stem)
        sentence.pattern = pattern
        for keyword in call.keywords:
            if keyword.arg == "extra":
                sentence.fields |= set(_keys(keyword.value, function))


def _levels(function: ast.FunctionDef) -> set[str]:
    """The levels that a function chooses among."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "logging"
    }


def _texts(node: ast.expr, reasons: list[str], path: Path) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Constant(value=str(text)):
            yield text, re.escape(text)
        case ast.JoinedStr(values=parts):
            texts = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            yield (
                "".join("..." if text is None else str(text) for text in texts),
                "".join(".+" if text is None else re.escape(str(text)) for text in texts),
            )
        case ast.Attribute(attr="reason"):
            for text in reasons:
                yield text, re.escape(text)
        case _:
            raise ValueError(f"{path}:{node.lineno}: a log entry without a constant sentence")


def _keys(node: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    """Names of fields in what is given as `extra`, followed through the function's own variables."""
    match node:
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value)
                elif key is None:
                    yield from _keys(value, function)
        case ast.DictComp(generators=[ast.comprehension(iter=ast.Call(func=ast.Attribute(value=inner)))]):
            yield from _keys(inner, function)
        case ast.Name(id=name):
            yield from _assigned(name, function)
        case _:
            pass


def _assigned(name: str, function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Dict() as value) if target == name:
                yield from _keys(value, function)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.Dict() as value) if target == name:
                yield from _keys(value, function)
            case ast.AugAssign(target=ast.Name(id=target), value=ast.Dict() as value) if target == name:
                yield from _keys(value, function)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=target), slice=ast.Constant(value=str(key)))]):
                if target == name:
                    yield key
            case _:
                pass


def _step_reasons(tree: ast.AST) -> Iterator[str]:
    """The sentences that the pure rules hand to whoever logs a step."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Step"), args=args, keywords=keywords):
                for value in (*args, *(keyword.value for keyword in keywords)):
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value
            case _:
                pass
