"""What looks like a secret."""

import re

_SIGNS = {
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a service account's key": rb"\"private_key(?:_id)?\"\s*:\s*\"",
    "a Google API key": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "a Google access token": rb"\bya29\.[0-9A-Za-z_-]{20,}",
    "an AWS access key": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": rb"\b(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{40,})",
    "a GitLab token": rb"\bglpat-[0-9A-Za-z_-]{20,}",
    "a Slack token": rb"\bxox[abeprs]-[0-9A-Za-z-]{10,}",
    "a signed token": rb"\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{16,}",
    "a password in a URL": rb"\b[a-z][a-z+.-]*://[^\s/:@\"'{}<>]+:[^\s/:@\"'{}<>]+@[0-9A-Za-z]",
}
_PATTERNS = {what: re.compile(sign) for what, sign in _SIGNS.items()}


def find_secret(content: bytes) -> str | None:
    """Return what kind of secret the content seems to hold, never the secret itself; none if it seems to hold none."""
    return next((what for what, pattern in _PATTERNS.items() if pattern.search(content)), None)
