"""Tracking one cluster: watch its Jobs and pods, record results, open batches, start and finish tasks.

The loop has three beats. Observations come from the watch at once; results are written when a batch is settled or after
a moment; what others may have changed (new tasks, cancellations) is read when kicked and in any case every few seconds.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event, Lock

from functions.tracker.board import Board
from functions.tracker.cleaning import clean
from functions.tracker.notices import send_overdue
from functions.tracker.ports import Pace, Ports
from functions.tracker.progress import work
from functions.tracker.strays import Strays
from ips_common import logs
from ips_common.errors import (
    ClusterUnavailable,
    IPSError,
    StaleVersion,
    TaskNotFound,
    TemporaryError,
    UnreadableDocument,
)
from ips_common.launch import launch
from ips_common.models.task import PendingReason, Task, TaskStatus
from ips_common.observe import Observation
from ips_common.planning import fail
from ips_common.ports.cluster import Cluster, Lost, Synced, Watch, WatchEvent
from ips_common.ports.store import StoredTask

logger = logging.getLogger(__name__)

LONGEST_PAUSE = timedelta(seconds=1)
NEW_TASK_PATIENCE = timedelta(seconds=5)
"""How long a new task is left to the function that accepted it."""


class ClusterRun:
    """One invocation's tracking of one cluster; all but `wake` belongs to a single thread."""

    def __init__(
        self, name: str, ports: Ports, pace: Pace, stop: Event, wait: Callable[[float], object] | None = None
    ) -> None:
        """Make a run.

        Args:
            name: the cluster's name.
            ports: the adapters and the clock.
            pace: how often and how long.
            stop: set when the process is to end.
            wait: how to let seconds pass while there is no watch to wait on; by default until woken.
        """
        self.name = name
        self._aborted = Event()
        self._ports = ports
        self._pace = pace
        self._stop = stop
        self._boards: dict[str, Board] = {}
        self._strays = Strays(name, ports.clusters)
        self._synced_at: datetime | None = None
        self._away = False
        self._reload_at = ports.clock()
        self._idle_since: datetime | None = None
        self._last_look = False
        self._open_elsewhere = False
        self._resting: dict[str, datetime] = {}
        self._parked: list[Observation] = []
        self._waiting: set[str] = set()
        self._lock = Lock()
        self._kicked: set[str | None] = set()
        self._watch: Watch | None = None
        self._waker = Event()
        self._wait = wait or self._waker.wait

    def abort(self) -> None:
        """Stop tracking: another instance does; any thread may call it."""
        self._aborted.set()
        self.wake()

    def wake(self, task_id: str | None = None) -> None:
        """Look at a task, or at everything, now; any thread may call it."""
        with self._lock:
            self._kicked.add(task_id)
            watch = self._watch
        self._waker.set()
        if watch:
            watch.wake()

    @property
    def kicked(self) -> bool:
        """Whether something was asked for that was not looked at yet, and is this instance's to look at."""
        return bool(self._kicked) and not self._aborted.is_set()

    def track(self, until: datetime) -> bool:
        """Track until nothing is left, time is up or `stop` is set; returns whether work is left."""
        cluster: Cluster | None = None
        try:
            while not self._over_now() and (now := self._ports.clock()) < until:
                self._reload(now)
                if not self._boards and self._idle(now):
                    return False
                if self._boards:
                    self._idle_since = None
                if self._boards and cluster is None:
                    cluster = self._cluster(now)
                if self._boards and cluster and self._watch is None:
                    self._begin_watch(cluster, until - now)
                self._take(self._next_events(now))
                for board in list(self._boards.values()):
                    if self._over_now() or self._ports.clock() >= until:
                        break
                    self._work(board, cluster)
            return not self._aborted.is_set() and (bool(self._boards) or self._open_elsewhere)
        finally:
            if self._watch:
                self._watch.close()

    def _over_now(self) -> bool:
        return self._stop.is_set() or self._aborted.is_set()

    # --- observing

    def _cluster(self, now: datetime) -> Cluster | None:
        try:
            return self._ports.clusters.get(self.name)
        except IPSError as error:
            logger.warning("cluster cannot be reached", extra={"error": str(error)})
            self._reload_at = now + self._pace.reload
            return None

    def _begin_watch(self, cluster: Cluster, left: timedelta) -> None:
        watch = cluster.watch(self._stop, seconds=left.total_seconds())
        with self._lock:
            self._watch = watch
            self._synced_at = None

    def _next_events(self, now: datetime) -> Sequence[WatchEvent]:
        pause = max(0.0, self._pause(now).total_seconds())
        if self._watch:
            return self._watch.get(pause)
        self._wait(pause)
        self._waker.clear()
        return ()

    def _pause(self, now: datetime) -> timedelta:
        if self._kicked:
            return timedelta(0)
        if self._parked:
            return LONGEST_PAUSE
        dues = [
            max(due, self._resting.get(task_id, due))
            for task_id, board in self._boards.items()
            if (due := board.next_due())
        ]
        return min([LONGEST_PAUSE, self._reload_at - now, *(due - now for due in dues)])

    def _take(self, events: Sequence[WatchEvent]) -> None:
        parked, self._parked = self._parked, []
        now = self._ports.clock()
        for event in (*parked, *events):
            if isinstance(event, Synced):
                self._synced_at = self._synced_at or now
            elif isinstance(event, Lost):
                self._synced_at = None
                logger.warning("watch lost, results may be late", extra={"error": event.message})
            elif board := self._board_of(event):
                board.see(event, now)
            else:
                self._strays.see(event, now)
        self._strays.sweep(now)

    def _board_of(self, event: Observation) -> Board | None:
        task_id = event.key.task_id
        if not (task_id in self._boards or self._strays.knows(task_id) or task_id in self._waiting):
            try:
                self._meet(task_id)
            except TemporaryError as error:
                # A watch says everything once, so what cannot be placed now must be kept.
                self._parked.append(event)
                logger.warning("task cannot be read yet", extra={"taskId": task_id, "error": str(error)})
        return self._boards.get(task_id)

    def _meet(self, task_id: str) -> None:
        """Look up the task of an observation that no board is for: it may have begun a moment ago."""
        try:
            stored = self._ports.store.task(task_id)
        except UnreadableDocument as error:
            logger.error("task left out", extra={"error": str(error)})  # noqa: TRY400 - no bug of ours
            self._strays.remember(task_id, None)
            return
        except TaskNotFound:
            # Another installation's, perhaps: what is not ours is left alone.
            self._strays.remember(task_id, None)
            return
        if stored.task.spec.cluster != self.name:
            self._strays.remember(task_id, None)
            return
        self._review(stored)
        if stored.task.status.final:
            self._strays.remember(task_id, stored.task.status)
        elif task_id not in self._boards:
            # What is seen of a task that waits is of an attempt that is over: one look until the next beat will do.
            self._waiting.add(task_id)

    # --- what others may have changed

    def _reload(self, now: datetime) -> None:
        with self._lock:
            kicked, self._kicked = self._kicked, set()
        if kicked:
            self._idle_since = None
            self._last_look = False
        self._away = False
        everything = now >= self._reload_at or None in kicked
        if everything:
            self._reload_at = now + self._pace.reload
        try:
            if everything:
                self._reload_all()
            else:
                for task_id in kicked:
                    self._reload_one(str(task_id))
        except TemporaryError as error:
            # What was asked for is not forgotten: the next beat reads everything.
            self._open_elsewhere = True
            self._reload_at = now + self._pace.reload
            logger.warning("tasks cannot be read now", extra={"error": str(error)})

    def _reload_all(self) -> None:
        self._waiting.clear()
        stored = {item.task.task_id: item for item in self._ports.store.open_tasks(self.name)}
        for task_id in self._boards.keys() - stored.keys():
            self._forget(task_id)
        for item in stored.values():
            if self._over_now():
                break
            self._review(item)
        waiting = self._start_waiting()
        self._open_elsewhere = waiting or any(task_id not in self._boards for task_id in stored)

    def _reload_one(self, task_id: str) -> None:
        try:
            stored = self._ports.store.task(task_id)
        except (TaskNotFound, UnreadableDocument):
            return
        if stored.task.spec.cluster == self.name:
            self._review(stored)
            if task_id in self._boards:
                self._boards[task_id].check_reports = True

    def _review(self, stored: StoredTask) -> None:
        """Bring what the tracker does about a task in line with what is stored."""
        task = stored.task
        with logs.bind(taskId=task.task_id, requestId=task.request_id):
            if task.cleanup and task.status is not TaskStatus.RUNNING and not self._away:
                stored = self._clean(stored)
            stored = send_overdue(stored, self._ports)
            if self._may_start(stored.task):
                stored = self._launch(stored)
            if stored.task.status is TaskStatus.RUNNING:
                stored = self._put_up(stored)
            if stored.task.status is not TaskStatus.RUNNING:
                self._forget(stored.task.task_id)

    def _may_start(self, task: Task) -> bool:
        now = self._ports.clock()
        if task.status is not TaskStatus.PENDING or task.cleanup or self._away:
            return False
        match task.pending_reason:
            case PendingReason.RETRY:
                return task.not_before is None or task.not_before <= now
            case PendingReason.CLUSTER:
                return True
            case PendingReason.SLOT:
                return False
            case None:
                return task.created_at + NEW_TASK_PATIENCE <= now

    def _launch(self, stored: StoredTask) -> StoredTask:
        ports = self._ports
        started = launch(stored, store=ports.store, bus=ports.bus, clusters=ports.clusters, now=ports.clock())
        if started.task.status is TaskStatus.RUNNING:
            logger.info("task started", extra={"attempt": started.task.attempt})
        # One that does not answer one of them does not answer the others either: they try it at the next beat.
        self._away = started.task.pending_reason is PendingReason.CLUSTER
        return started

    def _start_waiting(self) -> bool:
        """Start tasks that wait for a slot, in order, while there are slots; returns whether some go on waiting."""
        while queue := self._ports.store.queue(self.name, 1):
            if self._away:
                return True
            head = queue[0]
            with logs.bind(taskId=head.task.task_id, requestId=head.task.request_id):
                started = self._launch(head)
            if started.task.status is TaskStatus.PENDING:
                return True
            if started.task.status is TaskStatus.RUNNING:
                self._put_up(started)
        return False

    def _put_up(self, stored: StoredTask) -> StoredTask:
        """Look after a running task from now on; returns it as it stands, which is failed if that is impossible."""
        task = stored.task
        old = self._boards.get(task.task_id)
        if old and old.stored.version == stored.version:
            return stored
        places = sorted({task.shard_of(batch.number) for batch in task.open_batches})
        try:
            shards = self._ports.store.shards(task.task_id, [(task.attempt, index) for index in places])
        except UnreadableDocument as error:
            return self._give_up(stored, str(error))
        board = Board(stored, shards, self._pace.patience)
        if old and old.task.attempt == task.attempt:
            board.recall(old)
        board.check_reports = True
        self._boards[task.task_id] = board
        return stored

    def _give_up(self, stored: StoredTask, words: str) -> StoredTask:
        """Fail a task whose nodes cannot be read: it would hold its slot for ever."""
        logger.error("task cannot be tracked", extra={"error": words})
        failed = fail(stored.task, words, self._ports.clock()).model_copy(update={"cleanup": True})
        try:
            return self._ports.store.save(stored, failed)[0]
        except StaleVersion:
            return self._ports.store.task(stored.task.task_id)

    def _forget(self, task_id: str) -> None:
        self._boards.pop(task_id, None)
        self._resting.pop(task_id, None)

    def _idle(self, now: datetime) -> bool:
        """Whether nothing was left to do for long enough."""
        if self._open_elsewhere or self._kicked or self._strays.waiting:
            self._idle_since = None
            self._last_look = False
            return False
        self._idle_since = self._idle_since or now
        if now - self._idle_since < self._pace.linger:
            return False
        # One last look: another instance may have left a task to this one a moment ago.
        last_look, self._last_look = self._last_look, True
        self._reload_at = now
        return last_look

    # --- moving on

    def _work(self, board: Board, cluster: Cluster | None) -> None:
        task = board.task
        rests_until = self._resting.get(task.task_id)
        if cluster is None or (rests_until and self._ports.clock() < rests_until):
            return
        with logs.bind(taskId=task.task_id, requestId=task.request_id):
            try:
                work(board, cluster, self._ports, self._ports.clock(), synced_at=self._synced_at)
            except StaleVersion:
                logger.info("task was changed by somebody else, reading it again")
                self.wake(task.task_id)
                return
            except IPSError as error:
                # An outage is told once a task, not once a second.
                level = logging.DEBUG if rests_until else logging.WARNING
                logger.log(level, "task cannot be moved on now, trying again", extra={"error": str(error)})
                self._resting[task.task_id] = self._ports.clock() + LONGEST_PAUSE
                return
            if self._resting.pop(task.task_id, None):
                logger.info("task moves on again")
            if board.task.status is not TaskStatus.RUNNING:
                # Its slot is free, so whoever waits for one may start; and it may have Jobs to delete.
                self._forget(task.task_id)
                self._reload_at = self._ports.clock()

    def _clean(self, stored: StoredTask) -> StoredTask:
        """Delete the Jobs that a task, or its attempt, leaves behind."""
        try:
            return clean(stored, self._ports.clusters.get(self.name), self._ports.store)
        except StaleVersion:
            return self._ports.store.task(stored.task.task_id)
        except IPSError as error:
            self._away = isinstance(error, ClusterUnavailable)
            logger.warning("Jobs not deleted yet", extra={"error": str(error)})
            return stored
