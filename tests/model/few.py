"""Tasks whose shards hold few nodes, so that the few nodes of a small world make several shards."""

from ips_common.models.task import Task

NODES = 2


class FewNodesTask(Task):
    """A task like any other, except for the size of its shards and of a DaemonSet's batches."""

    @property
    def batch_nodes(self) -> int:
        """See `Task.batch_nodes`."""
        return NODES if self.is_daemonset else self.spec.batch_size

    @property
    def shard_size(self) -> int:
        """See `Task.shard_size`."""
        return self.batch_nodes * max(1, NODES // self.batch_nodes)
