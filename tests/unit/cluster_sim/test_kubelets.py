"""What a kubelet does with pods, images and its node."""

from typing import Any

import pytest

from deploy.local.cluster.kinds import DAEMONSETS, EVENTS, JOBS, NODES, PODS
from deploy.local.cluster.scenario import ImageRule, KubeletSettings
from tests.unit.cluster_sim.simulated import Simulated, job

# With the default bandwidth and latency, these take a second and two.
SIZES = [{"pattern": "one.example/*", "size_mib": 80}, {"pattern": "two.example/*", "size_mib": 180}]
ONE, TWO, MISSING = "one.example/a:1", "two.example/a:1", "a.example/missing:1"


def simulated(**scenario: Any) -> Simulated:
    return Simulated(images=SIZES, **scenario)


class TestPulls:
    def test_containers_pull_one_after_the_other(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", ONE, TWO))
        cluster.wait(2.5)
        assert cluster.states("j") == [0, "ContainerCreating"]
        cluster.wait(1)
        assert cluster.states("j") == [0, 0]

    def test_bad_image_does_not_stop_the_next(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", MISSING, ONE))
        cluster.wait(5)
        assert cluster.states("j") == ["ImagePullBackOff", 0]
        waiting = cluster.pod("j")["status"]["containerStatuses"][0]["state"]["waiting"]
        assert waiting["message"] == (
            f'Back-off pulling image "{MISSING}": ErrImagePull: failed to pull and unpack image "{MISSING}": '
            f'failed to resolve reference "{MISSING}": {MISSING}: not found'
        )

    def test_first_failure_is_err_image_pull(self) -> None:
        cluster = simulated(kubelet={"status_seconds": 0})
        cluster.create(JOBS, job("j", MISSING))
        cluster.wait(0.5)
        assert cluster.states("j") == ["ErrImagePull"]

    def test_back_off_doubles(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", MISSING))
        cluster.wait(75)
        # At 0, 10, 30 and 70 s, each a little later for the time the registry takes.
        pulls = [e for e in cluster.store.scan(EVENTS) if e.obj["reason"] == "Pulling"]
        assert [event.obj["count"] for event in pulls] == [4]

    def test_back_off_scale_makes_tests_quick(self) -> None:
        cluster = simulated(kubelet={"backoff_scale": 0.01})
        cluster.create(JOBS, job("j", "a.example/flaky:1"))
        cluster.wait(5)
        assert cluster.states("j") == [0]

    @pytest.mark.parametrize(
        ("image", "said"),
        [
            ("a.example/denied:1", "pull access denied"),
            ("a.example/ratelimited:1", "429 Too Many Requests"),
            ("a.example/unreachable:1", "no such host"),
        ],
    )
    def test_refusals_are_worded_as_containerd_does(self, image: str, said: str) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", image))
        cluster.wait(5)
        waiting = cluster.pod("j")["status"]["containerStatuses"][0]["state"]["waiting"]
        assert said in waiting["message"]

    def test_a_name_that_does_not_parse_is_never_pulled(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", "UPPER.example/Not/Valid:1"))
        cluster.wait(5)
        assert cluster.states("j") == ["InvalidImageName"]

    def test_present_image_is_not_pulled_again(self) -> None:
        cluster = simulated()
        cluster.node(images=[ONE])
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(0.1)
        assert cluster.states("j") == [0]
        said = f'Container image "{ONE}" already present on machine and can be accessed by the pod'
        assert ("Pulled", said) in cluster.events("j-")

    def test_present_image_is_known_by_its_short_name_and_its_digest(self) -> None:
        cluster = simulated()
        cluster.node(images=["docker.io/library/nginx:1"])
        (reported,) = cluster.need(NODES, "node-00001")["status"]["images"]
        pinned, named = reported["names"]
        assert named == "docker.io/library/nginx:1"
        cluster.create(JOBS, job("j", "nginx:1", "nginx@" + pinned.partition("@")[2], pinned))
        cluster.wait(0.1)
        assert cluster.states("j") == [0, 0, 0]

    def test_always_asks_the_registry_even_if_present(self) -> None:
        cluster = simulated()
        cluster.node(images=["one.example/a:latest"])
        cluster.create(JOBS, job("j", "one.example/a:latest"))
        cluster.wait(0.1)
        assert cluster.states("j") == ["ContainerCreating"]
        cluster.wait(1)
        assert cluster.states("j") == [0]

    def test_event_tells_time_and_size(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(5)
        pulled = next(message for reason, message in cluster.events("j-") if reason == "Pulled")
        assert pulled == (
            f'Successfully pulled image "{ONE}" in 1s (1s including waiting). Image size: {80 * 1024 * 1024} bytes.'
        )

    def test_serial_pulls_of_two_pods_wait_for_each_other(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("first", TWO))
        cluster.create(JOBS, job("second", ONE))
        cluster.wait(2.5)
        assert (cluster.states("first"), cluster.states("second")) == ([0], ["ContainerCreating"])
        cluster.wait(1)
        pulled = next(message for reason, message in cluster.events("second-") if reason == "Pulled")
        assert "in 1s (3s including waiting)" in pulled

    def test_parallel_pulls_share_the_bandwidth(self) -> None:
        cluster = simulated(kubelet={"parallel_pulls": 2})
        cluster.create(JOBS, job("first", ONE))
        cluster.create(JOBS, job("second", TWO))
        cluster.wait(1.9)
        assert cluster.states("first") == ["ContainerCreating"]
        cluster.wait(0.2)
        assert cluster.states("first") == [0]
        cluster.wait(1)
        assert cluster.states("second") == [0]

    def test_two_pods_share_one_pull(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("first", TWO))
        cluster.create(JOBS, job("second", TWO))
        cluster.wait(2.1)
        assert (cluster.states("first"), cluster.states("second")) == ([0], [0])

    def test_deleted_pod_gives_its_pull_up(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("first", "slow60.example/a:1"))
        cluster.create(JOBS, job("second", ONE))
        cluster.wait(1)
        cluster.delete(JOBS, "first", policy="Background")
        cluster.wait(2)
        assert cluster.states("second") == [0]
        assert not cluster.holds("slow60.example/a:1")

    def test_full_disk_refuses_what_does_not_fit(self) -> None:
        cluster = simulated()
        cluster.node(disk_free_mib=100)
        cluster.create(JOBS, job("j", ONE, TWO))
        cluster.wait(5)
        assert cluster.states("j") == [0, "ImagePullBackOff"]
        assert "no space left on device" in str(cluster.pod("j")["status"])

    def test_commands_change_the_registry_while_it_runs(self) -> None:
        cluster = simulated(kubelet={"backoff_scale": 0.1})
        cluster.create(JOBS, job("j", MISSING))
        cluster.wait(3)
        assert cluster.states("j") == ["ImagePullBackOff"]
        cluster.plane.images.set_rules([ImageRule(pattern="*/missing", missing=False)])
        cluster.wait(10)
        assert cluster.states("j") == [0]


class TestImageVolumes:
    def test_volumes_are_pulled_before_any_container(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", TWO, volumes=(ONE,)))
        cluster.wait(1.5)
        assert (cluster.holds(ONE), cluster.holds(TWO)) == (True, False)
        cluster.wait(3)
        assert cluster.states("j") == [0]

    def test_missing_volume_is_the_reason_its_container_waits(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", ONE, volumes=(MISSING, TWO)))
        cluster.wait(5)
        assert cluster.states("j") == ["ImagePullBackOff"]
        # The other volume was pulled all the same, the container's own image was not looked at.
        assert (cluster.holds(TWO), cluster.holds(ONE)) == (True, False)


class TestPods:
    def test_image_id_is_repository_and_digest(self) -> None:
        cluster = simulated()
        digest = "sha256:" + "a" * 64
        cluster.create(JOBS, job("j", f"one.example:5000/team/app@{digest}"))
        cluster.wait(5)
        status = cluster.pod("j")["status"]["containerStatuses"][0]
        assert status["imageID"] == f"one.example:5000/team/app@{digest}"

    def test_changes_within_the_status_period_are_one(self) -> None:
        cluster = simulated(kubelet={"status_seconds": 2})
        cluster.create(JOBS, job("j", ONE, TWO))
        cluster.wait(1.5)
        assert cluster.states("j") == ["ContainerCreating", "ContainerCreating"]
        cluster.wait(1)
        assert cluster.states("j") == [0, "ContainerCreating"]

    def test_running_container_is_killed_on_delete(self) -> None:
        cluster = Simulated(images=[{"pattern": "*", "runs": "forever"}])
        cluster.create(JOBS, job("j", ONE, grace=30))
        cluster.wait(5)
        assert cluster.states("j") == ["running"]
        seen = []
        cluster.store.listen(PODS, lambda change: seen.append((change.type, change.item.obj["status"]["phase"])))
        cluster.delete(PODS, cluster.pod("j")["metadata"]["name"])
        cluster.wait(5)
        assert ("MODIFIED", "Failed") in seen
        assert seen[-1][0] == "DELETED"

    def test_crashing_container_backs_off(self) -> None:
        cluster = Simulated(images=[{"pattern": "*", "exit_code": 1}])
        spec = job("j", ONE)
        spec["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
        cluster.create(JOBS, spec)
        cluster.wait(5)
        assert cluster.states("j") == ["CrashLoopBackOff"]
        assert cluster.pod("j")["status"]["containerStatuses"][0]["restartCount"] == 1
        cluster.wait(11)
        assert cluster.pod("j")["status"]["containerStatuses"][0]["restartCount"] == 2


class TestDaemonSet:
    def test_a_pod_on_every_node_that_keeps_running(self) -> None:
        cluster = simulated()
        template = {
            "metadata": {"labels": {"app": "ds"}},
            "spec": {
                "initContainers": [{"name": "pull", "image": ONE}],
                "containers": [{"name": "pause", "image": "registry.k8s.io/pause:3.10"}],
            },
        }
        spec = {"selector": {"matchLabels": {"app": "ds"}}, "template": template}
        cluster.create(DAEMONSETS, {"metadata": {"name": "ds"}, "spec": spec})
        cluster.wait(10)
        status = cluster.need(DAEMONSETS, "ds")["status"]
        assert (status["desiredNumberScheduled"], status["numberReady"]) == (3, 3)
        cluster.node("node-00002", gone=True)
        cluster.wait(60)
        assert cluster.need(DAEMONSETS, "ds")["status"]["numberReady"] == 2


class TestNodes:
    def test_present_images_are_reported_after_a_while(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(5)
        assert cluster.node_images() == []
        cluster.wait(10)
        assert cluster.node_images() == [ONE]

    def test_no_more_than_fifty_images_are_reported_and_those_are_the_biggest(self) -> None:
        rules = [{"pattern": f"many.example/{i}", "size_mib": i + 1} for i in range(60)]
        cluster = Simulated(images=rules)
        cluster.node(images=[f"many.example/{i}:1" for i in range(60)])
        assert cluster.node_images() == [f"many.example/{i}:1" for i in range(59, 9, -1)]

    def test_slow_node(self) -> None:
        cluster = simulated()
        cluster.node(bandwidth_mib=10)
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(7)
        assert cluster.states("j") == ["ContainerCreating"]
        cluster.wait(2)
        assert cluster.states("j") == [0]

    def test_stuck_node_does_nothing_until_it_recovers(self) -> None:
        cluster = simulated()
        cluster.node(stuck=True)
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(60)
        pod = cluster.pod("j")
        assert pod["spec"]["nodeName"] == "node-00001"
        assert "containerStatuses" not in pod["status"]
        cluster.node(stuck=False)
        cluster.wait(5)
        assert cluster.states("j") == [0]

    def test_pull_hangs_while_the_node_is_stuck(self) -> None:
        cluster = simulated()
        cluster.create(JOBS, job("j", TWO))
        cluster.wait(1)
        cluster.node(stuck=True)
        cluster.wait(60)
        assert cluster.states("j") == ["ContainerCreating"]
        cluster.node(stuck=False)
        cluster.wait(1.5)
        assert cluster.states("j") == [0]

    def test_disk_pressure_rejects_pods(self) -> None:
        cluster = simulated()
        cluster.node(disk_pressure=True)
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(3)
        status = cluster.pod("j")["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
        node = cluster.need(NODES, "node-00001")
        assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]
        assert cluster.conditions("j")["Failed"] == "BackoffLimitExceeded"

    def test_not_ready_and_back(self) -> None:
        cluster = simulated()
        cluster.node(ready="unknown")
        node = cluster.need(NODES, "node-00001")
        (ready,) = node["status"]["conditions"]
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert {taint["effect"] for taint in node["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(5)
        assert "containerStatuses" not in cluster.pod("j")["status"]
        cluster.node(ready=True)
        cluster.wait(5)
        assert cluster.states("j") == [0]
        assert "taints" not in cluster.need(NODES, "node-00001")["spec"]

    def test_vanished_node_takes_its_pods_along_after_the_quarantine(self) -> None:
        cluster = simulated(quarantine_seconds=10)
        cluster.create(JOBS, job("j", "slow60.example/a:1"))
        cluster.wait(1)
        cluster.node(gone=True)
        assert cluster.get(NODES, "node-00001") is None
        cluster.wait(9)
        assert cluster.pods("j") != []
        cluster.wait(5)
        assert cluster.pods("j") == []
        assert cluster.conditions("j")["Failed"] == "BackoffLimitExceeded"

    def test_node_comes_back_empty_under_a_new_uid(self) -> None:
        cluster = simulated()
        before = cluster.need(NODES, "node-00001")["metadata"]["uid"]
        cluster.node(images=[ONE])
        cluster.node(gone=True)
        cluster.wait(100)
        cluster.node(gone=False)
        node = cluster.need(NODES, "node-00001")
        assert node["metadata"]["uid"] != before
        assert "images" not in node["status"]
        cluster.create(JOBS, job("j", ONE))
        cluster.wait(5)
        assert cluster.states("j") == [0]

    def test_settings_reach_every_kubelet(self) -> None:
        cluster = simulated()
        cluster.plane.kubelets.configure(KubeletSettings(bandwidth_mib=1000, pull_latency_seconds=0))
        cluster.create(JOBS, job("j", TWO))
        cluster.wait(0.2)
        assert cluster.states("j") == [0]
