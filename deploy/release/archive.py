"""The package: the deployed files as one zip that is the same, byte for byte, wherever it is made."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from deploy.release.errors import ReleaseError
from deploy.release.secret import find_secret

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every file: the format knows none earlier."""
_UNIX = 3
_READABLE_FILE = 0o100644 << 16


def write_archive(target: Path, root: Path, files: Sequence[str]) -> None:
    """Write a zip of `files`, in their order.

    They are stored, not compressed: compressors of different versions make different bytes of the same content.

    Raises:
        ReleaseError: a file seems to hold a secret; nothing was written.
    """
    contents = {file: (root / file).read_bytes() for file in files}
    for file, content in contents.items():
        if what := find_secret(content):
            raise ReleaseError(f"{file} seems to hold {what}: what is deployed is readable to many")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file, content in contents.items():
            entry = zipfile.ZipInfo(file, _TIME)
            entry.create_system = _UNIX
            entry.external_attr = _READABLE_FILE
            archive.writestr(entry, content)
