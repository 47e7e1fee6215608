"""DaemonSets whose controller and kubelets take their time, or do not get on."""

from dataclasses import replace

from ips_common.cluster.memory import MemoryCluster, MemoryClusters
from ips_common.models.task import Task, TaskStatus
from ips_common.observe import ContainerSeen
from ips_common.ports.cluster import Json
from tests.unit.world import World

PODS_A_SECOND = 20
"""What kube-controller-manager makes by default."""


class SlowCluster(MemoryCluster):
    """A cluster whose DaemonSet controller makes so many pods a second, and none beyond `most`."""

    world: World
    most = 10_000

    def _admit_set(self, manifest: Json) -> None:
        self.pod_refusal = "later"
        super()._admit_set(manifest)
        self.pod_refusal = ""
        del self._refused_pods[manifest["metadata"]["name"]]
        self.world.at(1, lambda: self._make_more(manifest["metadata"]["name"]))

    def _make_more(self, name: str) -> None:
        if name not in self._sets:
            return
        made = self._sets[name]
        missing = [node for node in made.nodes if node not in made.pods]
        for node in missing[: min(PODS_A_SECOND, self.most - len(made.pods))]:
            self._start_daemon(made, node)
        self.world.at(1, lambda: self._make_more(name))

    def refuse_once(self, words: str) -> None:
        """Let the Event of a pod that could not be made be there."""
        self._refused_pods = dict.fromkeys(self._sets, words)

    def fail_pods(self) -> None:
        """Let every pod be evicted, and made anew."""
        for made in self._sets.values():
            for node, pod in list(made.pods.items()):
                self._tell(replace(pod, phase="Failed", reason="Evicted", message="The node was low on memory"))
                self._end_pod(made, node)
                self._start_daemon(made, node)
        self.world.at(10, self.fail_pods)


def slow(nodes: int) -> tuple[World, SlowCluster]:
    world = World(nodes=0)
    cluster = SlowCluster("default", nodes, clock=lambda: world.now)
    cluster.world, cluster.on_idle = world, world.cluster.on_idle
    world.cluster, world.clusters = cluster, MemoryClusters(cluster)
    return world, cluster


def create(world: World, **fields: object) -> Task:
    return world.create(mode="daemonset", **fields)


def test_controller_that_takes_its_time_is_left_to_it() -> None:
    world, cluster = slow(2000)
    task = create(world)
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    assert cluster.calls["create_daemonset"] == 1
    assert cluster.calls["nodes"] <= 2


def test_node_whose_pod_is_made_late_has_its_whole_time() -> None:
    world, cluster = slow(2000)
    task = create(world, timeoutSeconds=30)
    world.track()
    assert world.task(task.task_id).failure_reasons == {}
    assert cluster.calls["create_daemonset"] == 1


def test_one_pod_that_could_not_be_made_condemns_no_node() -> None:
    world, cluster = slow(1000)
    task = create(world)
    world.at(2, lambda: cluster.refuse_once("Error creating: failed calling webhook: timeout"))
    world.track()
    assert world.task(task.task_id).failure_reasons == {}


def test_quota_fails_the_nodes_it_stops() -> None:
    world, cluster = slow(100)
    cluster.most = 70
    task = create(world)
    words = 'pods "x" is forbidden: exceeded quota: q'
    world.at(5, lambda: cluster.refuse_once(words))
    world.track()
    task = world.task(task.task_id)
    assert (task.completed_nodes, task.failure_reasons) == (70, {"RefusedByAdmission": 30})
    assert task.failed_node_details[0].message == words


def test_refused_pods_settle_even_where_events_may_not_be_read() -> None:
    world = World(nodes=150)
    world.cluster.pod_refusal = "no"
    world.cluster.events_readable = False
    task = create(world)
    begun = world.now
    world.track()
    task = world.task(task.task_id)
    assert task.failure_reasons == {"RefusedByAdmission": 150}
    assert task.finished_at
    assert (task.finished_at - begun).total_seconds() < 70
    assert world.cluster.calls["create_daemonset"] == 1


def test_lost_message_is_sent_again_for_all_batches_at_once() -> None:
    world = World(nodes=2000)
    world.deliver = False
    task = create(world)
    world.bus.take()
    world.at(5, lambda: setattr(world, "deliver", True))
    world.track()
    assert world.task(task.task_id).status is TaskStatus.COMPLETED
    assert world.cluster.calls["create_daemonset"] == 1


def test_pods_that_fail_again_and_again_are_named() -> None:
    world, cluster = slow(1)
    cluster.stuck.add("node-0")
    task = create(world, timeoutSeconds=300)
    world.at(10, cluster.fail_pods)
    world.track()
    task = world.task(task.task_id)
    assert task.failure_reasons == {"PodFailed": 1}
    assert "Evicted" in task.failed_node_details[0].message


def test_image_that_was_refused_before_its_pod_was_made_anew_goes_on_with_its_grace() -> None:
    world, cluster = slow(1)
    cluster.broken["nginx:1.27"] = ContainerSeen(waiting="ErrImagePull", message="i/o timeout")
    task = create(world, timeoutSeconds=300)
    begun = world.now
    world.at(30, lambda: cluster.evict("node-0"))
    world.track()
    task = world.task(task.task_id)
    assert task.failure_reasons == {"RegistryUnavailable": 1}
    assert task.finished_at
    assert (task.finished_at - begun).total_seconds() < 70
