"""What can go wrong in a check."""


class CheckError(Exception):
    """Something does not hold; the message says what, in one line or one line each."""
