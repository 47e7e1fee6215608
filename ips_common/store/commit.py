"""Atomic writes that know whether they took place, however often they had to be sent."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as api

from ips_common.errors import StaleVersion
from ips_common.google_call import ONCE
from ips_common.store.rpc import Rpc, translated

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import DocumentReference, DocumentSnapshot

Document = dict[str, Any]

_STAMP = "write"
"""The field that says which commit a document's content is from."""


@dataclass(frozen=True, slots=True)
class Version:
    """When a document was last written, and what it held then, so that an update sends only what changes."""

    update_time: Any
    document: Mapping[str, Any] = field(repr=False, compare=False)


def version_of(snapshot: "DocumentSnapshot[Any]") -> Version:
    """The version of a document that exists."""
    return Version(snapshot.update_time, snapshot.to_dict() or {})


def own_version(version: object) -> Version:
    """A version that this store gave out."""
    if not isinstance(version, Version):
        raise TypeError(f"{version!r} is no version of this store")
    return version


class Commit:
    """One atomic write of several documents.

    An answer can be lost although the write took place; sent again, it would then find its own documents in the way.
    So each guarded document carries a stamp of the commit, and a refusal of a repeated commit is checked against it.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._stamp = uuid.uuid4().hex[:16]
        self._guarded: list[tuple[DocumentReference, Document]] = []
        self._updates = False
        self._batch = rpc.client.batch()

    def create(self, reference: "DocumentReference", document: Document) -> None:
        """Write a document that must not exist yet."""
        self._batch.create(reference, document | {_STAMP: self._stamp})
        self._guarded.append((reference, document))

    def update(self, reference: "DocumentReference", version: Version, document: Document) -> None:
        """Change a document, which must still be as it was at `version`, into `document`."""
        self._updates = True
        changes = {name: value for name, value in document.items() if _differs(version.document, name, value)}
        self._batch.update(
            reference,
            changes | {_STAMP: self._stamp},
            option=self._rpc.client.write_option(last_update_time=version.update_time),
        )
        self._guarded.append((reference, document))

    def merge(self, reference: "DocumentReference", changes: Document) -> None:
        """Merge transforms or deletions into a document, whatever it holds; to be added after the guarded ones."""
        self._batch.set(reference, changes, merge=True)

    def replace(self, reference: "DocumentReference", document: Document) -> None:
        """Write a document, whatever it held; to be added after the guarded ones."""
        self._batch.set(reference, document)

    def run(self, what: str) -> list[Version]:
        """Send all of it; returns the new versions of the guarded documents, in the order they were added.

        Raises:
            StaleVersion: a document exists or is not at its version any more; nothing was written.
        """
        writes = list(self._batch._write_pbs)  # noqa: SLF001 - a batch forgets them when sent, and cannot be sent twice

        def send(timeout: float, repeated: bool) -> list[Version]:  # noqa: FBT001 - the edge's signature
            self._batch._write_pbs = list(writes)  # noqa: SLF001 - same
            try:
                results = self._batch.commit(retry=ONCE, timeout=timeout)
            except (api.AlreadyExists, api.FailedPrecondition, api.NotFound):
                found = self._own_versions() if repeated else None
                if found is None:
                    raise
                return found
            return [
                Version(result.update_time, document)
                for result, (_, document) in zip(results, self._guarded, strict=False)
            ]

        try:
            return self._rpc.call(what, send)
        except (api.AlreadyExists, api.FailedPrecondition) as error:
            raise StaleVersion(f"{what}: somebody else wrote first ({error.message})") from error
        except api.NotFound as error:
            if self._updates:
                raise StaleVersion(f"{what}: a document is gone ({error.message})") from error
            raise translated(error, what) from error

    def _own_versions(self) -> list[Version] | None:
        """The versions this commit gave its documents on an earlier try, if nobody wrote any of them since."""
        found = self._rpc.get_all([reference for reference, _ in self._guarded])
        if len(found) != len(self._guarded) or any(snapshot.get(_STAMP) != self._stamp for snapshot in found):
            return None
        return [
            Version(snapshot.update_time, document)
            for snapshot, (_, document) in zip(found, self._guarded, strict=True)
        ]


def _differs(before: Mapping[str, Any], name: str, value: Any) -> bool:
    return name not in before or before[name] != value
