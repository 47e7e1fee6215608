"""API keys, of which only salted hashes are known here.

A plain SHA-256 is enough because keys are random and long: there is nothing to guess, unlike with passwords.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from ips_common.models.access import Role

_MAX_KEY = 512
_SALT_BYTES = 16
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A known key: whose it is, what it is for, and its hash."""

    name: str
    role: Role
    hash: str


class ApiKeys:
    """All known keys."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = tuple(keys)

    def find(self, key: str) -> ApiKey | None:
        """Return the known key that this one is; takes as long whichever it is, or if it is none."""
        if len(key) > _MAX_KEY:
            return None
        found = None
        for known in self._keys:
            salt = known.hash.split(":")[1]
            if hmac.compare_digest(hash_key(key, salt), known.hash):
                found = known
        return found


def hash_key(key: str, salt: str) -> str:
    """Return the hash of a key for the configuration; `salt` is hexadecimal."""
    digest = hashlib.sha256(bytes.fromhex(salt) + key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{salt}:{digest}"


def new_key() -> tuple[str, str]:
    """Return a new random key and its hash."""
    key = secrets.token_urlsafe(_KEY_BYTES)
    return key, hash_key(key, secrets.token_hex(_SALT_BYTES))
