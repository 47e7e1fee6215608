"""Cancelling a task: first the decision, durably, then its Jobs."""

import logging
from datetime import datetime

from ips_common.errors import BusUnavailable, ClusterRefused, ClusterUnavailable, InvalidRequest
from ips_common.models.message import Kick
from ips_common.models.task import Task
from ips_common.ports.bus import Bus
from ips_common.ports.cluster import Clusters
from ips_common.ports.store import Store
from ips_common.reconcile import cancelled

logger = logging.getLogger(__name__)


def cancel(task_id: str, *, store: Store, bus: Bus, clusters: Clusters, now: datetime) -> Task:
    """Cancel a task and delete its Jobs.

    Once stored, nothing more is created for it. If the cluster cannot be reached now, or a batch is being created at
    this very moment, the tracker deletes what is left.

    Raises:
        TaskNotFound: there is no such task.
        TaskFinished: it has ended another way.
    """
    task = store.transition(task_id, lambda task: cancelled(task, now)).task
    if not task.cleanup:
        return task
    try:
        clusters.get(task.spec.cluster).delete_jobs(task_id)
    except (ClusterUnavailable, ClusterRefused, InvalidRequest) as error:
        logger.warning("Jobs not deleted yet, the tracker will", extra={"taskId": task_id, "error": str(error)})
    try:
        bus.publish([Kick(cluster=task.spec.cluster, task_id=task_id, request_id=task.request_id)])
    except BusUnavailable as error:
        logger.warning("tracker not kicked", extra={"taskId": task_id, "error": str(error)})
    return task
