"""The variable parts of an answer, all of them: what may differ between two clusters that behave the same.

Everything not named here is compared as it is. UIDs are numbered by appearance, so that where the same UID has to turn
up twice it does.
"""

import base64
import json
import re
from typing import Any

# Compared headers; the others depend on the client and the moment.
HEADERS = ("content-type", "warning", "retry-after")

_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
# The end of a generated name, such as life-xvz6b.
_GENERATED = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}(?![-\w])")
# The end of an Event's name, such as j6.18eade2d04d2ab99.
_EVENT_NAME = re.compile(r"\.[0-9a-f]{16}$")
_VERSIONS_IN_MESSAGES = (
    (re.compile(r"(too old resource version: \d+) \(\d+\)"), r"\1 (<version>)"),
    (re.compile(r"(Too large resource version: \d+), current: \d+"), r"\1, current: <version>"),
)
_VERSION_FIELD = "resourceVersion"
_HASH_LABEL = "controller-revision-hash"
_TOKEN_FIELD = "continue"
# A UID that stands for "none of yours" in a request is no variable part.
_NO_UID = "00000000-0000-0000-0000-000000000000"


class Normalizer:
    """Normalizes one answer."""

    def __init__(self) -> None:
        self._uids: dict[str, str] = {_NO_UID: _NO_UID}

    def value(self, value: Any, field: str = "") -> Any:
        """The value with its variable parts replaced; fields in one order, so that UIDs are numbered alike."""
        if isinstance(value, dict):
            return {name: self.value(value[name], name) for name in sorted(value)}
        if isinstance(value, list):
            return [self.value(item, field) for item in value]
        if not isinstance(value, str):
            return value
        if field == _VERSION_FIELD:
            return "<version>" if value.isdigit() else value
        if field == _TOKEN_FIELD:
            return self._token(value)
        if field == _HASH_LABEL:
            return "<hash>" if value.isalnum() else value
        return self._text(value)

    def _text(self, text: str) -> str:
        text = _UID.sub(lambda match: self._uids.setdefault(match[0], f"<uid {len(self._uids)}>"), text)
        text = _TIME.sub("<time>", text)
        text = _GENERATED.sub("-<generated>", text)
        text = _EVENT_NAME.sub(".<moment>", text)
        for pattern, replacement in _VERSIONS_IN_MESSAGES:
            text = pattern.sub(replacement, text)
        return text

    def _token(self, token: str) -> Any:
        """A continue token without the version in it."""
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return {**content, "rv": "<version>", "start": self._text(content["start"])}


def differences(recorded: Any, found: Any, path: str = "") -> list[str]:
    """Where two normalized values differ, one line each."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        lines = []
        for name in sorted(recorded.keys() | found.keys()):
            where = f"{path}.{name}" if path else name
            if name not in found:
                lines.append(f"{where}: missing, recorded {recorded[name]!r}")
            elif name not in recorded:
                lines.append(f"{where}: not recorded, found {found[name]!r}")
            else:
                lines += differences(recorded[name], found[name], where)
        return lines
    if isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        return [
            line
            for index, pair in enumerate(zip(recorded, found, strict=True))
            for line in differences(*pair, f"{path}[{index}]")
        ]
    if recorded == found and type(recorded) is type(found):
        return []
    return [f"{path or 'answer'}: recorded {recorded!r}, found {found!r}"]
