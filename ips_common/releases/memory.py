"""Releases in memory: a fake that knows what tests tell it."""

from collections.abc import Mapping, Sequence

from ips_common.errors import ReleaseNotFound, ReleasesUnavailable
from ips_common.ports.releases import Releases


class MemoryReleases(Releases):
    """A `Releases` for tests; `down = True` makes every call raise `ReleasesUnavailable`."""

    def __init__(self, known: Mapping[str, Sequence[str]] | None = None) -> None:
        self.known = dict(known or {})
        self.down = False
        self.asked: list[str] = []

    def images(self, name: str) -> Sequence[str]:
        """See `Releases.images`."""
        self.asked.append(name)
        if self.down:
            raise ReleasesUnavailable(f"{name}: told to be away")
        if name not in self.known:
            raise ReleaseNotFound(f"{name} does not exist")
        return self.known[name]
