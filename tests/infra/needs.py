"""What each function needs, read from its code: messages it sends, adapters it makes, settings it reads."""

import ast
from collections.abc import Mapping

from pydantic import AliasChoices

from ips_common.bus.pubsub import TOPICS
from ips_common.config import Settings
from tests.infra.reach import nodes, reachable, resolve

_SETTINGS_ARE_CALLED = {"settings", "config"}


def publishes(function: str) -> set[str]:
    """Return the topics whose messages a function makes and has a bus for."""
    if not wires(function, "bus"):
        return set()
    topics = {kind.__name__: topic for kind, topic in TOPICS.items()}
    made = {
        place[1]
        for module, node in nodes(function)
        if isinstance(node, ast.Call) and (place := resolve(module, node.func)) and place[0].endswith("models.message")
    }
    return {topics[name] for name in made if name in topics}


def wires(function: str, adapter: str) -> bool:
    """Whether a function makes the adapter of `ips_common/wiring/<adapter>.py`."""
    return any(module == f"ips_common.wiring.{adapter}" for module, _ in reachable(function))


def settings(function: str) -> set[str]:
    """Return the settings that a function reads, by their environment variables."""
    names = variables()
    read = {
        node.attr
        for _, node in nodes(function)
        if isinstance(node, ast.Attribute) and node.attr in names and _is_settings(node.value)
    }
    return {names[name] for name in read}


def variables() -> Mapping[str, str]:
    """Return the first environment variable of every setting, by the setting's attribute."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        found[name] = str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias)
    return found


def _is_settings(expression: ast.expr) -> bool:
    match expression:
        case ast.Name(id=name):
            return name in _SETTINGS_ARE_CALLED
        case ast.Call(func=ast.Name(id="configure")):
            return True
    return False
