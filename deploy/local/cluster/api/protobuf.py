"""The one body that kubectl insists on sending as protobuf: `auth can-i` asks for an access review that way."""

from typing import Any

from deploy.local.cluster.errors import bad_request

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_LENGTH_DELIMITED = 2
# Field numbers of runtime.Unknown, SelfSubjectAccessReview, its spec and the attributes in it.
_RAW, _SPEC, _RESOURCE, _PATH = 2, 2, 1, 2
_RESOURCE_FIELDS = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_PATH_FIELDS = {1: "path", 2: "verb"}


def access_review(body: bytes) -> dict[str, Any]:
    """Read a SelfSubjectAccessReview.

    Raises:
        ApiError: the body is no protobuf of Kubernetes.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body is no Kubernetes protobuf")
    spec = _fields(_fields(_fields(body[len(_MAGIC) :]).get(_RAW, b"")).get(_SPEC, b""))
    review: dict[str, Any] = {}
    if _RESOURCE in spec:
        review["resourceAttributes"] = _texts(spec[_RESOURCE], _RESOURCE_FIELDS)
    if _PATH in spec:
        review["nonResourceAttributes"] = _texts(spec[_PATH], _PATH_FIELDS)
    return {"spec": review}


def _texts(message: bytes, names: dict[int, str]) -> dict[str, str]:
    found = _fields(message)
    return {name: found[number].decode() for number, name in names.items() if found.get(number)}


def _fields(message: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message; there are no others in what is read here."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag & 7 == _LENGTH_DELIMITED:
            found[tag >> 3] = message[at : at + value]
            at += value
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
    raise bad_request("the body is a protobuf that ends too early")
