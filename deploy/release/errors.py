"""Why there is no release."""


class ReleaseError(Exception):
    """Something must not or cannot be released; the message says what to do about it."""
