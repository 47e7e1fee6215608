"""The one error of the local stack."""


class StackError(Exception):
    """Something the stack needs is missing or broken; the message is one line that says what to do."""
