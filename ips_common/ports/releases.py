"""Looking up releases: what an event names without saying what is in it."""

from collections.abc import Sequence
from typing import Protocol


class Releases(Protocol):
    """The releases of Cloud Deploy."""

    def images(self, name: str) -> Sequence[str]:
        """Return the references of a release's images.

        Args:
            name: `projects/P/locations/L/deliveryPipelines/D/releases/R`.

        Raises:
            ReleasesUnavailable: they cannot be had now.
            ReleaseNotFound: there is no such release.
        """
        ...
