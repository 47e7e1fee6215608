"""One running task as the tracker sees it: what is stored, what was found since, what is known of each open node."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from functions.tracker.roll import Roll
from ips_common.models.node import Node
from ips_common.models.results import NodeResult, Problem
from ips_common.models.task import OpenBatch, Task
from ips_common.observe import Gone, JobSeen, Observation, PodSeen
from ips_common.ports.store import StoredShard, StoredTask
from ips_common.reconcile import CREATE_PATIENCE, failed_result, settle
from ips_common.sight import Sight, notice, notice_daemon, notice_job
from ips_common.verdict import Patience, Suspicion, Verdict, Wait, judge, judge_node, judge_refusal

FLUSH_SECONDS = 1.0
"""Shortest time between writes of results that open no batch."""
FLUSH_SECONDS_PER_DOCUMENT = 0.5
"""The more documents a write touches, the rarer it is: what is not written yet can be read from the pods again."""


@dataclass(slots=True)
class OpenNode:
    """A node of an open batch that has no result yet."""

    name: str
    uid: str
    shard: int
    position: int
    batch: int
    sight: Sight = field(default_factory=Sight)
    due: datetime | None = None
    suspicion: Suspicion | None = None


class Board:
    """The tracker's memory of one running task; it can be lost and rebuilt from the store and a watch at any time."""

    def __init__(self, stored: StoredTask, shards: Iterable[StoredShard], patience: Patience) -> None:
        self.stored = stored
        self.check_reports = False
        self.rests_until: datetime | None = None
        """When to try again, after something was away."""
        self.trouble: str | None = None
        """What was away then."""
        self.roll = Roll()
        self.patience = patience.of_daemonset() if stored.task.is_daemonset else patience
        self._shards = {item.shard.index: item for item in shards}
        self._nodes: dict[str, OpenNode] = {}
        self._due: list[tuple[datetime, str]] = []
        self._touched: dict[str, None] = {}  # a set that keeps the order of what happened
        self._results: dict[int, dict[int, NodeResult]] = {}
        self._dirty_since: datetime | None = None
        self._leftover: Counter[int] = Counter()
        self._unsettled: Counter[int] = Counter()
        for batch in stored.task.open_batches:
            self._open(batch.number)

    @property
    def task(self) -> Task:
        """The task as it is stored."""
        return self.stored.task

    def missing_shards(self, task: Task) -> list[tuple[int, int]]:
        """Return the places of shards that open batches need and that are not loaded."""
        needed = {task.shard_of(batch.number) for batch in task.open_batches}
        return [(task.attempt, index) for index in sorted(needed - self._shards.keys())]

    def sights(self) -> Mapping[str, Sight]:
        """Return what is known of each open node, by its name."""
        return {name: node.sight for name, node in self._nodes.items()}

    def recall(self, earlier: "Board") -> None:
        """Take over what an earlier board of the same attempt knew."""
        self.roll = earlier.roll
        self.rests_until, self.trouble = earlier.rests_until, earlier.trouble
        for name, sight in earlier.sights().items():
            if name in self._nodes:
                self._nodes[name].sight = sight
                self._touched[name] = None

    def _open(self, batch: int) -> None:
        index = self.task.shard_of(batch)
        shard = self._shards[index].shard
        place = self.task.slice_of(batch)
        self._unsettled[batch] = 0
        for position in range(place.start, place.stop):
            state = shard.nodes[position]
            if state.result is None:
                self._nodes[state.name] = OpenNode(state.name, state.uid, index, position, batch)
                self._unsettled[batch] += 1

    # --- what is seen

    def see(self, observation: Observation, now: datetime) -> None:
        """Take an observation in; one of a node that is not open, or of another attempt, changes nothing."""
        if observation.key.attempt != self.task.attempt:
            return
        if self.task.is_daemonset and not isinstance(observation, JobSeen):
            self.roll.see(observation, now)
        node = self._nodes.get(observation.key.node)
        if node is None:
            return
        if isinstance(observation, JobSeen):
            node.sight = notice_job(node.sight, observation, now)
        elif self.task.is_daemonset:
            self._see_daemon(node, observation, now)
        elif isinstance(observation, Gone):
            # A pod's last state stays known: a deadline removes the pod before the Job says so.
            if observation.kind == "Job":
                node.sight = Sight()
        else:
            node.sight = notice(node.sight, observation, self.task.spec.images, now)
        self._touched[node.name] = None

    def _see_daemon(self, node: OpenNode, observation: PodSeen | Gone, now: datetime) -> None:
        """Take in what became of a DaemonSet's pod: what follows wants a Job, so one stands in for the set.

        The node's time runs from its first pod on: whatever is made anew later, the deadline stays where it is.
        """
        if isinstance(observation, Gone):
            if node.sight.pod and node.sight.pod.name == observation.name:
                node.sight = replace(node.sight, pod=None, pulled_at=None)
                self.roll.look_at = None
            return
        if node.sight.job is None:
            latest = self._opened_at(node.batch) + CREATE_PATIENCE
            began = min(observation.created or now, latest)
            node.sight = notice_job(node.sight, JobSeen(observation.key, observation.job, began, has_pod=True), now)
        node.sight = notice_daemon(node.sight, observation, self.task.spec.images, now)

    def _opened_at(self, number: int) -> datetime:
        return next(batch.opened_at for batch in self.task.open_batches if batch.number == number)

    # --- what it means

    def judge(self, now: datetime) -> list[OpenNode]:
        """Judge every node that was touched or is due; returns those that need another look elsewhere."""
        while self._due and self._due[0][0] <= now:
            due, name = heapq.heappop(self._due)
            node = self._nodes.get(name)
            if node and node.due == due:
                self._touched[name] = None
        suspects = []
        for name in self._touched:
            node = self._nodes.get(name)
            if node is None:
                continue
            created = node.sight.job.created if node.sight.job else now
            deadline = created + timedelta(seconds=self.task.spec.timeout_seconds)
            verdict = judge(self.task.spec.images, node.sight, deadline, self.patience, now)
            self._take(node, verdict, now)
            if node.suspicion and name in self._nodes:
                suspects.append(node)
        self._touched.clear()
        return suspects

    def judge_node(self, suspect: OpenNode, found: Node | None, now: datetime) -> None:
        """Judge a suspect by what the API server says of the node itself."""
        images = self.task.spec.images
        self._take(suspect, judge_node(images, suspect.sight, suspect.uid, found, self.patience, now), now)

    def judge_refusal(self, suspect: OpenNode, words: str | None, now: datetime) -> None:
        """Judge a Job without a pod by the Event that says why."""
        images = self.task.spec.images
        self._take(suspect, judge_refusal(images, suspect.sight, words, self.patience, now), now)

    def _take(self, node: OpenNode, verdict: Verdict, now: datetime) -> None:
        if isinstance(verdict, Wait):
            node.suspicion = verdict.suspicion
            node.due = verdict.until
            if verdict.until:
                heapq.heappush(self._due, (verdict.until, node.name))
            return
        self.record(node, verdict, now)

    def record(self, node: OpenNode, result: NodeResult, now: datetime) -> None:
        """Note a node's final result, to be written with the next flush."""
        del self._nodes[node.name]
        self._unsettled[node.batch] -= 1
        self._results.setdefault(node.shard, {})[node.position] = result
        self._dirty_since = self._dirty_since or now
        if not result.succeeded and node.sight.job and not node.sight.job.finished and not self.task.is_daemonset:
            self._leftover[node.batch] += 1

    # --- nodes without a Job

    def without_job(self, batch: OpenBatch) -> list[OpenNode]:
        """Return the open nodes of a batch for which no Job is known."""
        return [node for node in self._nodes.values() if node.batch == batch.number and node.sight.job is None]

    def without_pod(self) -> list[OpenNode]:
        """Return the open nodes that have no pod of the attempt's DaemonSet."""
        return [node for node in self._nodes.values() if node.sight.pod is None]

    def fail_node(self, node: OpenNode, problem: Problem, now: datetime) -> None:
        """Settle a node on which nothing was tried."""
        self.record(node, failed_result(self.task, problem, now), now)

    # --- what is to be written

    def settled(self) -> set[int]:
        """Return the open batches of which every node has its result."""
        return {batch.number for batch in self.task.open_batches if self._unsettled[batch.number] == 0}

    def flush_at(self) -> datetime | None:
        """Return when results should be written at the latest; None if there are none."""
        if self._dirty_since is None:
            return None
        documents = len(self._results) + 1
        return self._dirty_since + timedelta(seconds=max(FLUSH_SECONDS, FLUSH_SECONDS_PER_DOCUMENT * documents))

    def next_due(self) -> datetime | None:
        """Return when something must be looked at even if nothing happens."""
        times = [time for time in (self._due[0][0] if self._due else None, self.flush_at()) if time]
        return min(times, default=None)

    def fold(self, shards: Iterable[StoredShard] | None = None) -> tuple[Task, list[StoredShard]]:
        """Return the task and shards with all results in them: those that changed, or all of the given ones."""
        if shards is None:
            shards = [self._shards[index] for index in sorted(self._results)]
        task = self.task
        folded = []
        for item in shards:
            task, shard = settle(task, item.shard, self._results.get(item.shard.index, {}))
            folded.append(StoredShard(shard, item.version))
        return task, folded

    def leftovers(self) -> list[int]:
        """Return settled batches of which some Job may still run."""
        return [batch for batch in self.settled() if self._leftover[batch]]

    def saved(self, stored: StoredTask, shards: Sequence[StoredShard], loaded: Sequence[StoredShard] = ()) -> None:
        """Note that `fold` was written, and open the batches that the write opened; `loaded` are their shards."""
        known = {batch.number for batch in self.task.open_batches}
        self.stored = stored
        for item in (*shards, *loaded):
            self._shards[item.shard.index] = item
        self._results.clear()
        self._dirty_since = None
        open_now = {batch.number for batch in stored.task.open_batches}
        for number in known - open_now:
            self._leftover.pop(number, None)
            self._unsettled.pop(number, None)
        for number in sorted(open_now - known):
            self._open(number)
        needed = {stored.task.shard_of(number) for number in open_now}
        for index in self._shards.keys() - needed:
            del self._shards[index]
