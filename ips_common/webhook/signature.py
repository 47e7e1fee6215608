"""Signing events, so that a receiver knows who sent them and when."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

HEADER = "X-IPS-Signature"
EVENT_ID_HEADER = "X-IPS-Event-Id"


def sign(body: bytes, secrets: Sequence[str], at: datetime) -> str:
    """Return the signature header: the time and one HMAC-SHA256 per secret, over both the time and the body.

    While a secret is replaced there are two, and a receiver may know either.
    """
    stamp = int(at.timestamp())
    signed = f"{stamp}.".encode() + body
    parts = [f"t={stamp}"]
    parts += [f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join(parts)
