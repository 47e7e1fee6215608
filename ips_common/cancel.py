"""Cancelling a task: first the decision, durably, then its Jobs."""

import logging
from datetime import datetime

from ips_common.errors import BusUnavailable, ClusterRefused, ClusterUnavailable, InvalidRequest
from ips_common.finishing import log_end, notifications
from ips_common.models.message import Kick, Outgoing
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
    log_end(task, now)
    outgoing: list[Outgoing] = [*notifications(task)]
    if task.cleanup:
        _delete_jobs(task, clusters)
        outgoing.append(Kick(cluster=task.spec.cluster, task_id=task_id, request_id=task.request_id))
    if not outgoing:
        return task
    try:
        bus.publish(outgoing)
    except BusUnavailable as error:
        logger.warning("messages not published, the tracker will", extra={"taskId": task_id, "error": str(error)})
    return task


def _delete_jobs(task: Task, clusters: Clusters) -> None:
    try:
        cluster = clusters.get(task.spec.cluster)
        if task.is_daemonset:
            cluster.delete_daemonsets(task.task_id)
        else:
            cluster.delete_jobs(task.task_id)
    except (ClusterUnavailable, ClusterRefused, InvalidRequest) as error:
        logger.warning("Jobs not deleted yet, the tracker will", extra={"taskId": task.task_id, "error": str(error)})
