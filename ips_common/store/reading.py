"""Documents that another version wrote, or a person: what makes no sense is told by its name, never by its content.

Tasks hold URLs with credentials in them, and an error that quotes what it could not read would carry them into a log.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ips_common.errors import UnreadableDocument


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Decode the document at `path` inside.

    Raises:
        UnreadableDocument: it is not what its place says.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # Not `from error`: its words, and those of a traceback, may be the document's.
        raise UnreadableDocument(f"{path} cannot be read ({type(error).__name__})") from None
