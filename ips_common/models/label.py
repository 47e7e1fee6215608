"""Kubernetes names and labels.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_LABEL = 63
MAX_SUBDOMAIN = 253

_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def is_subdomain(text: str) -> bool:
    """Whether `text` is a DNS subdomain: what most object names have to be."""
    return 0 < len(text) <= MAX_SUBDOMAIN and all(_DNS_LABEL.fullmatch(part) for part in text.split("."))


def check_label_key(key: str) -> None:
    """Check a label key.

    Raises:
        ValueError: the key is not `[prefix/]name`; the message says what is wrong.
    """
    prefix, slash, name = key.rpartition("/")
    if slash and not is_subdomain(prefix):
        raise ValueError("the part before the / must be a DNS subdomain of at most 253 characters")
    if not name or len(name) > MAX_LABEL or not _VALUE.fullmatch(name):
        raise ValueError(
            "the name must be 1 to 63 characters of letters, digits, - _ . and begin and end with a letter or digit"
        )


def check_label_value(value: str) -> None:
    """Check a label value.

    Raises:
        ValueError: the value is not a label value; the message says what is wrong.
    """
    if len(value) > MAX_LABEL or not _VALUE.fullmatch(value):
        raise ValueError(
            "must be at most 63 characters of letters, digits, - _ . and begin and end with a letter or digit"
        )


def _key(text: str) -> str:
    check_label_key(text)
    return text


def _value(text: str) -> str:
    check_label_value(text)
    return text


def _secret_name(text: str) -> str:
    if not is_subdomain(text):
        raise ValueError("must be the name of a Secret: a DNS subdomain of at most 253 characters")
    return text


# What the patterns say of length and form is checked above, in words; they are for readers of the description.
def _object_name(text: str) -> str:
    if not is_subdomain(text):
        raise ValueError("must be a DNS subdomain of at most 253 characters")
    return text


_SUBDOMAIN_PATTERN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_NAME_PATTERN = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"

LabelKey = Annotated[
    str, AfterValidator(_key), Field(json_schema_extra={"pattern": f"^({_SUBDOMAIN_PATTERN}/)?{_NAME_PATTERN}$"})
]
LabelValue = Annotated[str, AfterValidator(_value), Field(json_schema_extra={"pattern": f"^({_NAME_PATTERN})?$"})]
SecretName = Annotated[
    str,
    AfterValidator(_secret_name),
    Field(json_schema_extra={"pattern": f"^{_SUBDOMAIN_PATTERN}$", "minLength": 1, "maxLength": MAX_SUBDOMAIN}),
]
ObjectName = Annotated[str, AfterValidator(_object_name)]
"""What most objects may be called."""
