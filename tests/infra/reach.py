"""Which definitions of the code a function can get to: what it may need rights and settings for.

Follows names through imports, from everything in `functions/<name>/`. A class counts as a whole, and calls through a
protocol end there; whatever implements it comes in by the wiring, which is where adapters are chosen.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.infra.extract import ROOT

PACKAGES = ("ips_common", "functions")

Place = tuple[str, str]
"""Module and name; the name is empty for what a module does when it is imported."""


@dataclass
class Module:
    """A module's definitions, and what its imported names stand for."""

    name: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)


@cache
def modules() -> dict[str, Module]:
    """Return every module of the code, by name."""
    return {name: _module(name, path) for name, path in _sources()}


@cache
def reachable(function: str) -> frozenset[Place]:
    """Return every definition that a function can get to."""
    own = f"functions.{function}."
    waiting = [
        (name, each) for name, module in modules().items() if name.startswith(own) for each in module.definitions
    ]
    found = set(waiting)
    while waiting:
        module, name = waiting.pop()
        for statement in modules()[module].definitions[name]:
            for place in _mentioned(modules()[module], statement):
                if place not in found:
                    found.add(place)
                    waiting.append(place)
    return frozenset(found)


def nodes(function: str) -> Iterator[tuple[Module, ast.AST]]:
    """Yield every node of the syntax trees that a function can get to."""
    for name, definition in sorted(reachable(function)):
        for statement in modules()[name].definitions[definition]:
            for node in ast.walk(statement):
                yield modules()[name], node


def resolve(module: Module, expression: ast.expr) -> Place | None:
    """Return the definition that an expression names, if it is one of the code's."""
    match expression:
        case ast.Name(id=name):
            return _resolve((module.name, name))
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in module.imports:
            parent, child = module.imports[name]
            inner = f"{parent}.{child}" if child else parent
            return _resolve((inner, attribute)) if inner in modules() else None
    return None


def _resolve(place: Place) -> Place | None:
    module = modules().get(place[0])
    if module is None:
        return None
    if place[1] in module.definitions:
        return place
    return _resolve(module.imports[place[1]]) if place[1] in module.imports else None


def _mentioned(module: Module, statement: ast.stmt) -> Iterator[Place]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name | ast.Attribute) and (place := resolve(module, node)):
            yield place


def _sources() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def _module(name: str, path: Path) -> Module:
    tree = ast.parse(path.read_text("utf-8"))
    module = Module(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            module.imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    for statement in tree.body:
        for defined in _names(statement):
            module.definitions.setdefault(defined, []).append(statement)
    return module


def _names(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Import() | ast.ImportFrom():
            return []
    return [""]
