"""Signed tokens (JWT, RFC 7519): what an issuer says of a caller, and whether it was the issuer who said it."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ips_common.auth.jwk import PublicKey, decode_base64url, verify
from ips_common.errors import InvalidCredentials
from ips_common.models.access import Claims

SKEW = 60.0
"""Seconds by which the issuer's clock may differ from ours."""

_MAX_TOKEN = 16 * 1024
_ALGORITHMS = frozenset({"RS256", "ES256"})


class SigningKeys(Protocol):
    """The keys that an issuer signs with now."""

    def find(self, key_id: str | None) -> Sequence[PublicKey]:
        """Return the keys a token of this key id may be signed with; without an id, all of them.

        Raises:
            IssuerUnavailable: they cannot be fetched now.
        """
        ...


class TokenVerifier:
    """Accepts the tokens that one issuer made for us."""

    def __init__(
        self, issuer: str, audiences: Sequence[str], keys: SigningKeys, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Make a verifier.

        Args:
            issuer: has to be the token's `iss`.
            audiences: one of them has to be in the token's `aud`.
            keys: the issuer's.
            clock: seconds since 1970.
        """
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._keys = keys
        self._clock = clock

    def verify(self, token: str) -> Claims:
        """Return the token's claims.

        Raises:
            InvalidCredentials: the token is not good; the message says why.
            IssuerUnavailable: that cannot be said now.
        """
        header, claims, signed, signature = _split(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in _ALGORITHMS:
            raise InvalidCredentials("the token must be signed with RS256 or ES256")
        if "crit" in header or not isinstance(key_id, str | None):
            raise InvalidCredentials("the token's header is not understood")
        keys = self._keys.find(key_id)
        if not keys:
            raise InvalidCredentials("the token is signed with a key that the issuer does not publish")
        if not any(verify(key, algorithm, signed, signature) for key in keys):
            raise InvalidCredentials("the token's signature is wrong")
        self._check(claims)
        return claims

    def _check(self, claims: Claims) -> None:
        if claims.get("iss") != self._issuer:
            raise InvalidCredentials("the token is from another issuer")
        given = claims.get("aud")
        audiences = given if isinstance(given, list) else [given]
        if not any(isinstance(audience, str) and audience in self._audiences for audience in audiences):
            raise InvalidCredentials("the token is for another audience")
        now = self._clock()
        expires = _time(claims, "exp")
        if expires is None:
            raise InvalidCredentials("the token does not say when it expires")
        if now >= expires + SKEW:
            raise InvalidCredentials("the token has expired")
        if any(begins is not None and begins > now + SKEW for begins in (_time(claims, "nbf"), _time(claims, "iat"))):
            raise InvalidCredentials("the token is not valid yet")


def unverified_claims(token: str) -> tuple[Claims, str]:
    """Return what a token says and its signature as it stands there, without believing either.

    Raises:
        InvalidCredentials: it is no token.
    """
    parts = token.split(".")
    if len(token) > _MAX_TOKEN or len(parts) != 3:
        raise InvalidCredentials("it is no token of three parts")
    return _object(parts[1]), parts[2]


def _split(token: str) -> tuple[Claims, Claims, bytes, bytes]:
    claims, signature = unverified_claims(token)
    head, _, _ = token.partition(".")
    signed, _, _ = token.rpartition(".")
    try:
        return _object(head), claims, signed.encode("ascii"), decode_base64url(signature)
    except ValueError as error:
        raise InvalidCredentials("the token cannot be decoded") from error


def _object(part: str) -> Claims:
    try:
        value = json.loads(decode_base64url(part).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidCredentials("the token cannot be decoded") from error
    if not isinstance(value, dict):
        raise InvalidCredentials("the token cannot be decoded")
    return value


def _time(claims: Claims, name: str) -> float | None:
    value: Any = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidCredentials(f"the token's {name} is no time")
    return value
