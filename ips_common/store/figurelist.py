"""Reading the figures: a dozen documents and a few counts, however many tasks there are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ips_common.models.task import PendingReason, TaskStatus
from ips_common.ports.store import ClusterFigures, Figures
from ips_common.store.figuredoc import decode_figures, figure_ids
from ips_common.store.ledger import Ledger
from ips_common.store.rpc import Rpc
from ips_common.store.taskdoc import plain_time
from ips_common.store.tasklist import TaskList

if TYPE_CHECKING:
    from google.cloud.firestore_v1 import DocumentReference, DocumentSnapshot


class FigureList:
    """The figures of a database in which each cluster has so many slots."""

    def __init__(self, rpc: Rpc, tasks: TaskList, slots: int) -> None:
        self._rpc = rpc
        self._tasks = tasks
        self._slots = slots

    def read(self, clusters: Sequence[str]) -> Figures:
        """See `Store.figures`."""
        places = [self._document("figures", name) for name in figure_ids()]
        places += [self._document(kind, name) for kind in ("clusters", "leases") for name in clusters]
        found = {snapshot.reference.path: snapshot for snapshot in self._rpc.get_all(places)}
        ledger = Ledger()
        for name in figure_ids():
            if snapshot := found.get(f"figures/{name}"):
                ledger.add(decode_figures(snapshot.to_dict() or {}))
        return ledger.figures(
            active=self._tasks.count("status", TaskStatus.RUNNING),
            queued=self._tasks.count("status", TaskStatus.PENDING),
            waiting={reason.value: self._tasks.count("pendingReason", reason) for reason in PendingReason},
            clusters={
                name: self._cluster(name, found.get(f"clusters/{name}"), found.get(f"leases/{name}"))
                for name in clusters
            },
        )

    def _cluster(
        self, name: str, slots: "DocumentSnapshot[Any] | None", lease: "DocumentSnapshot[Any] | None"
    ) -> ClusterFigures:
        head = self._tasks.queue(name, 1)
        return ClusterFigures(
            slots=self._slots,
            slots_taken=len((slots.to_dict() or {}).get("running", {})) if slots else 0,
            # The server's time, so clocks of trackers do not matter.
            tracked_at=plain_time(lease.update_time) if lease and lease.update_time else None,
            next_since=head[0].task.created_at if head else None,
        )

    def _document(self, collection: str, name: str) -> "DocumentReference":
        return self._rpc.client.document(collection, name)
