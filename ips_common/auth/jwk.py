"""Public keys as issuers publish them (RFC 7517), as far as tokens are accepted here: RS256 and ES256."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

PublicKey = RSAPublicKey | EllipticCurvePublicKey

_MIN_RSA = 2048  # bits
_COORDINATE = 32  # bytes of a number on the curve P-256


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and the id that tokens signed with it carry."""

    key_id: str | None
    key: PublicKey


def decode_base64url(text: str) -> bytes:
    """Decode unpadded base64url.

    Raises:
        ValueError: it is none.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def parse_keys(document: Any) -> Sequence[SigningKey]:
    """Return the signing keys of a JWK Set that can be used here; others are left out.

    Raises:
        ValueError: there is none.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    keys = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = _parse(entry)
        except (ValueError, TypeError, KeyError):
            continue
        if key is not None:
            keys.append(SigningKey(entry.get("kid"), key))
    if not keys:
        raise ValueError("there is no RSA or P-256 key to sign with")
    return keys


def verify(key: PublicKey, algorithm: str, signed: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's; the algorithm has to be the one of the key's type."""
    try:
        if isinstance(key, RSAPublicKey) and algorithm == "RS256":
            key.verify(signature, signed, PKCS1v15(), SHA256())
            return True
        if isinstance(key, EllipticCurvePublicKey) and algorithm == "ES256" and len(signature) == 2 * _COORDINATE:
            r, s = (int.from_bytes(part, "big") for part in (signature[:_COORDINATE], signature[_COORDINATE:]))
            key.verify(encode_dss_signature(r, s), signed, ECDSA(SHA256()))
            return True
    except InvalidSignature:
        return False
    return False


def _parse(entry: Mapping[str, Any]) -> PublicKey | None:
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _ if entry.get("alg", "RS256") == "RS256":
            key = RSAPublicNumbers(_number(entry["e"]), _number(entry["n"])).public_key()
            return key if key.key_size >= _MIN_RSA else None
        case "EC", "P-256":
            return EllipticCurvePublicNumbers(_number(entry["x"]), _number(entry["y"]), SECP256R1()).public_key()
    return None


def _number(text: str) -> int:
    return int.from_bytes(decode_base64url(text), "big")
