"""What every cluster does, as tests: a class that tests of a kind of cluster inherit, with a `subject` fixture."""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

import pytest

from ips_common.errors import ClusterUnavailable
from ips_common.models.task import PullStrategy
from ips_common.observe import Gone, JobSeen, Key, PodSeen
from ips_common.ports.cluster import Creation, Lost, Synced, Watch, WatchEvent
from tests.contract.cluster_subjects import Subject


class Board:
    """What a watch has told of one task so far."""

    def __init__(self, subject: Subject, watch: Watch) -> None:
        self._subject = subject
        self._watch = watch
        self.told: list[WatchEvent] = []
        self.jobs: dict[str, JobSeen] = {}
        self.pods: dict[str, PodSeen] = {}

    def until(self, condition: Callable[["Board"], object]) -> None:
        """Listen until a condition is met."""
        end = monotonic() + self._subject.patience
        while not condition(self):
            assert monotonic() < end, (self.jobs, self.pods)
            for event in self._watch.get(0.1):
                self._note(event)

    def heard(self, kind: type) -> int:
        """Return how often something of a kind was told."""
        return sum(isinstance(event, kind) for event in self.told)

    def job(self, node: str) -> JobSeen | None:
        """Return the Job of a node."""
        return next((job for job in self.jobs.values() if job.key.node == node), None)

    def pod(self, node: str) -> PodSeen | None:
        """Return the pod of a node."""
        return next((pod for pod in self.pods.values() if pod.key.node == node), None)

    def _note(self, event: WatchEvent) -> None:
        if not isinstance(event, Synced | Lost) and event.key.task_id != self._subject.task_id:
            return
        self.told.append(event)
        match event:
            case JobSeen():
                self.jobs[event.name] = event
            case PodSeen():
                self.pods[event.name] = event
            case Gone():
                (self.jobs if event.kind == "Job" else self.pods).pop(event.name)


def synced(board: Board) -> bool:
    return board.heard(Synced) > 0


class ClusterContract:
    """The promises of `ips_common.ports.cluster`."""

    def test_nodes_are_listed_by_their_labels(self, subject: Subject) -> None:
        nodes = subject.cluster.nodes({})

        assert [node.name for node in nodes] == sorted(node.name for node in nodes)
        assert {node.name for node in nodes} >= set(subject.nodes)
        assert all(node.exclusion is None for node in nodes if node.name in subject.nodes)
        assert subject.cluster.nodes({"no-such-label": "x"}) == []
        assert {node.images for node in subject.cluster.nodes({}, images=[])} == {frozenset()}

    def test_one_node_is_read_by_name(self, subject: Subject) -> None:
        node = subject.cluster.node(subject.nodes[0])

        assert node
        assert node.uid == {node.name: node.uid for node in subject.cluster.nodes({})}[subject.nodes[0]]
        assert subject.cluster.node("no-such-node") is None

    def test_creating_a_job_twice_is_harmless(self, subject: Subject) -> None:
        jobs = [subject.job(node) for node in subject.nodes]

        first = subject.cluster.create_jobs(jobs, 20)
        second = subject.cluster.create_jobs(jobs, 20)

        assert [outcome.name for outcome in first] == [job["metadata"]["name"] for job in jobs]
        assert {outcome.creation for outcome in first} == {Creation.CREATED}
        assert {outcome.creation for outcome in second} == {Creation.EXISTS}

    def test_a_pull_is_watched_to_its_end(self, subject: Subject) -> None:
        node = subject.nodes[0]
        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            board.until(synced)
            assert not board.jobs
            subject.cluster.create_jobs([subject.job(node, batch=3, attempt=2)], 20)
            board.until(lambda board: (job := board.job(node)) and job.finished)

        job, pod = board.job(node), board.pod(node)
        assert job
        assert pod
        assert job.key == Key(subject.task_id, 2, 3, node)
        assert (job.finished, job.reason) == ("Complete", "CompletionsReached")
        assert job.has_pod
        assert pod.key == job.key
        assert (pod.job, pod.phase, pod.scheduled) == (job.name, "Succeeded", True)
        assert [image.digest is not None for image in pod.images.values()] == [True] * len(subject.images)
        assert all(str(image.digest).startswith("sha256:") for image in pod.images.values())
        first = next(event for event in board.told if isinstance(event, JobSeen))
        assert (first.finished, first.has_pod) == ("", False)

    def test_a_watch_begins_with_what_exists(self, subject: Subject) -> None:
        jobs = [subject.job(node) for node in subject.nodes]
        subject.cluster.create_jobs(jobs, 20)

        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            board.until(synced)

        assert set(board.jobs) == {job["metadata"]["name"] for job in jobs}
        assert board.heard(Lost) == 0

    def test_a_missing_image_does_not_keep_another_from_being_pulled(self, subject: Subject) -> None:
        self._one_missing(subject, PullStrategy.CONTAINER)

    def test_a_missing_image_volume_does_not_keep_another_from_being_pulled(self, subject: Subject) -> None:
        self._one_missing(subject, PullStrategy.IMAGE_VOLUME)

    def _one_missing(self, subject: Subject, strategy: PullStrategy) -> None:
        node = subject.nodes[1]
        manifest = subject.job(node, subject.images[0], subject.missing, subject.images[1], strategy=strategy)
        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            subject.cluster.create_jobs([manifest], 20)
            board.until(
                lambda board: (
                    (pod := board.pod(node))
                    and [image.digest is not None for image in pod.images.values()] == [True, False, True]
                    and "not found" in pod.images[1].message
                )
            )

        job, pod = board.job(node), board.pod(node)
        assert job
        assert pod
        assert pod.images[1].waiting in {"ErrImagePull", "ImagePullBackOff"}
        assert job.finished == ""

    def test_a_job_for_a_node_that_does_not_exist_is_unschedulable(self, subject: Subject) -> None:
        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            subject.cluster.create_jobs([subject.job("no-such-node")], 20)
            board.until(lambda board: (pod := board.pod("no-such-node")) and pod.unschedulable)

        pod = board.pod("no-such-node")
        assert pod
        assert not pod.scheduled
        assert "nodes are available" in pod.unschedulable

    def test_a_batch_is_deleted_with_its_pods(self, subject: Subject) -> None:
        mine, other = subject.nodes[:2], subject.nodes[2:4]
        subject.cluster.create_jobs([subject.job(node, batch=1) for node in mine], 20)
        subject.cluster.create_jobs([subject.job(node, batch=2) for node in other], 20)

        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            board.until(lambda board: len(board.jobs) == len(board.pods) == len([*mine, *other]))
            subject.cluster.delete_jobs(subject.task_id, batch=1, attempt=1)
            subject.cluster.delete_jobs(subject.task_id, batch=1, attempt=0)
            board.until(lambda board: {pod.key.node for pod in board.pods.values()} == set(other))

            assert {job.key.node for job in board.jobs.values()} == set(other)
            assert subject.cluster.has_jobs(subject.task_id)
            subject.cluster.delete_jobs(subject.task_id)
            board.until(lambda board: not board.jobs and not board.pods)

        assert not subject.cluster.has_jobs(subject.task_id)

    def test_jobs_that_succeeded_can_be_spared(self, subject: Subject) -> None:
        done, stuck = subject.nodes[:2]
        subject.cluster.create_jobs([subject.job(done), subject.job(stuck, subject.missing)], 20)

        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            board.until(lambda board: (job := board.job(done)) and job.finished)
            subject.cluster.delete_jobs(subject.task_id, unfinished_only=True)
            board.until(lambda board: not board.job(stuck) and not board.pod(stuck))

        assert board.job(done)

    def test_jobs_are_deleted_by_name(self, subject: Subject) -> None:
        jobs = [subject.job(node) for node in subject.nodes[:2]]
        subject.cluster.create_jobs(jobs, 20)

        subject.cluster.delete_named_jobs([jobs[0]["metadata"]["name"], "no-such-job"])

        outcomes = subject.cluster.create_jobs(jobs, 20)
        assert [outcome.creation for outcome in outcomes] == [Creation.CREATED, Creation.EXISTS]

    def test_deleting_what_is_not_there_is_fine(self, subject: Subject) -> None:
        subject.cluster.delete_jobs(subject.task_id)
        subject.cluster.delete_named_jobs([])

        assert not subject.cluster.has_jobs(subject.task_id)

    def test_refused_pods_are_explained(self, subject: Subject) -> None:
        manifest = subject.unwelcome(subject.job(subject.nodes[0]))
        name = manifest["metadata"]["name"]
        (outcome,) = subject.cluster.create_jobs([manifest], 20)
        assert outcome.creation is Creation.CREATED

        end = monotonic() + subject.patience
        while name not in (refusals := subject.cluster.refusals()).messages:
            assert refusals.readable
            assert monotonic() < end
        assert 'violates PodSecurity "restricted:latest"' in refusals.messages[name]
        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            board.until(synced)
        assert not board.pods
        assert not board.jobs[name].has_pod

    def test_a_used_up_quota_refuses_in_its_own_words(self, subject: Subject) -> None:
        if subject.allow_jobs is None:
            pytest.skip("no quota can be set here")
        subject.allow_jobs(2)

        outcomes = [subject.cluster.create_jobs([subject.job(node)], 20)[0] for node in subject.nodes[:3]]

        assert [outcome.creation for outcome in outcomes] == [Creation.CREATED, Creation.CREATED, Creation.REFUSED]
        assert (outcomes[2].status, outcomes[2].reason) == (403, "Forbidden")
        assert "exceeded quota" in outcomes[2].message

    def test_an_outage_is_told_and_got_over(self, subject: Subject) -> None:
        if subject.outage is None:
            pytest.skip("no outage can be brought about here")
        jobs = [subject.job(node) for node in subject.nodes]
        with subject.cluster.watch(Event(), seconds=120) as watch:
            board = Board(subject, watch)
            subject.cluster.create_jobs(jobs[:1], 20)
            board.until(lambda board: synced(board) and board.jobs)
            with subject.outage():
                board.until(lambda board: board.heard(Lost))
                with pytest.raises(ClusterUnavailable):
                    subject.cluster.ready(0.3)
                outcomes = subject.cluster.create_jobs(jobs, 0.3)
                assert {outcome.creation for outcome in outcomes} == {Creation.FAILED}
                assert all(outcome.message for outcome in outcomes)
            board.until(lambda board: board.heard(Synced) == 2)
            subject.cluster.create_jobs(jobs, 20)
            board.until(lambda board: len(board.jobs) == len(jobs))

        assert board.heard(Lost) == 1

    def test_a_cluster_that_answers_is_ready(self, subject: Subject) -> None:
        subject.cluster.ready(10)

    def test_a_watch_can_be_woken(self, subject: Subject) -> None:
        with subject.cluster.watch(Event(), seconds=60) as watch:
            Board(subject, watch).until(synced)
            waker = Thread(target=watch.wake)
            waker.start()
            began = monotonic()
            while waker.is_alive() or list(watch.get(30)):
                assert monotonic() < began + 30

    def test_a_watch_is_over_when_it_is_stopped_or_its_time_is(self, subject: Subject) -> None:
        stop = Event()
        stopped = subject.cluster.watch(stop, seconds=60)
        ended = subject.cluster.watch(Event(), seconds=0.2)
        stop.set()

        for watch in (stopped, ended):
            with watch:
                while list(watch.get(60)):
                    pass
                assert list(watch.get(60)) == []

    def test_a_daemonset_has_a_pod_on_each_of_its_nodes_and_no_other(self, subject: Subject) -> None:
        nodes = subject.nodes[:2]
        with subject.cluster.watch(Event(), seconds=60) as watch:
            board = Board(subject, watch)
            created = subject.cluster.create_daemonset(subject.daemonset(nodes), 20)
            board.until(lambda board: [all_pulled(board.pod(node)) for node in nodes] == [True, True])
            again = subject.cluster.create_daemonset(subject.daemonset(nodes), 20)

            assert (created.creation, again.creation) == (Creation.CREATED, Creation.EXISTS)
            assert {pod.key for pod in board.pods.values()} == {Key(subject.task_id, 0, 1, node) for node in nodes}
            assert {(pod.job, pod.daemonset) for pod in board.pods.values()} == {(created.name, True)}
            assert not board.jobs
            assert subject.cluster.has_daemonsets(subject.task_id)
            assert not subject.cluster.has_jobs(subject.task_id)
            subject.cluster.delete_daemonsets(subject.task_id)
            board.until(lambda board: not board.pods)

        assert not subject.cluster.has_daemonsets(subject.task_id)

    def test_a_daemonset_of_one_attempt_is_deleted_alone(self, subject: Subject) -> None:
        for attempt in (0, 1):
            subject.cluster.create_daemonset(subject.daemonset(subject.nodes[:1], attempt=attempt), 20)

        subject.cluster.delete_daemonsets(subject.task_id, attempt=1)

        assert subject.cluster.has_daemonsets(subject.task_id)
        subject.cluster.delete_daemonsets(subject.task_id)
        assert not subject.cluster.has_daemonsets(subject.task_id)

    def test_refused_pods_of_a_daemonset_are_explained(self, subject: Subject) -> None:
        manifest = subject.unwelcome(subject.daemonset(subject.nodes))
        subject.cluster.create_daemonset(manifest, 20)

        end = monotonic() + subject.patience
        while (name := manifest["metadata"]["name"]) not in (refusals := subject.cluster.refusals()).messages:
            assert monotonic() < end
        assert 'violates PodSecurity "restricted:latest"' in refusals.messages[name]
        subject.cluster.delete_daemonsets(subject.task_id)

    def test_image_volumes_are_supported(self, subject: Subject) -> None:
        assert subject.cluster.supports_image_volumes()


def all_pulled(pod: PodSeen | None) -> bool:
    return pod is not None and bool(pod.images) and all(image.digest for image in pod.images.values())
