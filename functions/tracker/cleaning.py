"""Deleting what a task, or its attempt, leaves in the cluster when it ends."""

from ips_common.models.task import TaskStatus
from ips_common.ports.cluster import Cluster
from ips_common.ports.store import Store, StoredTask


def clean(stored: StoredTask, cluster: Cluster, store: Store) -> StoredTask:
    """Delete a task's leftovers and note that it is done; until all are gone the task stays marked.

    Raises:
        StaleVersion: somebody else wrote the task.
        TemporaryError: the cluster or the store is away.
        ClusterRefused: deleting is not allowed.
    """
    task = stored.task
    if task.is_daemonset:
        cluster.delete_daemonsets(task.task_id)
        if cluster.has_daemonsets(task.task_id):
            return stored
    elif task.status is TaskStatus.CANCELLED:
        cluster.delete_jobs(task.task_id)
        if cluster.has_jobs(task.task_id):
            return stored
    else:
        cluster.delete_jobs(task.task_id, unfinished_only=True)
    return store.save(stored, task.model_copy(update={"cleanup": False}))[0]
