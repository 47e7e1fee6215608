"""Files fetched from the net once, pinned by their SHA-256."""

import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from deploy.local.errors import StackError

_CHUNK = 1 << 20
_TIMEOUT_S = 30


def fetch(url: str, sha256: str, target: Path) -> Path:
    """Fetch `url` to `target` unless it is there already, and return `target`.

    The file appears under its name only once it is whole and its checksum is right.

    Raises:
        StackError: The net, the server or the checksum refuses.
    """
    if target.exists() and _digest(target) == sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as part:
        path = Path(part.name)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                while chunk := answer.read(_CHUNK):
                    part.write(chunk)
            part.close()
            digest = _digest(path)
            if digest != sha256:
                raise StackError(f"{url} has the SHA-256 {digest}, not the pinned {sha256}; it is not used")
            path.replace(target)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise StackError(f"{url} cannot be fetched: {reason}") from error
        finally:
            path.unlink(missing_ok=True)
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
