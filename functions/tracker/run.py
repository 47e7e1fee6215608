"""Tracking one cluster: watch its Jobs and pods, record results, open batches, start and finish tasks.

The loop has three beats. Observations come from the watch at once; results are written when a batch is settled or after
a moment; what others may have changed (new tasks, cancellations) is read when kicked and in any case every few seconds.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event, Lock

from functions.tracker.board import Board
from functions.tracker.ports import Pace, Ports
from functions.tracker.progress import work
from functions.tracker.roster import Roster
from ips_common import logs
from ips_common.errors import IPSError, StaleVersion, TemporaryError, UnreadableDocument
from ips_common.models.task import TaskStatus
from ips_common.observe import Observation
from ips_common.ports.cluster import Cluster, Lost, Synced, Watch, WatchEvent

logger = logging.getLogger(__name__)

LONGEST_PAUSE = timedelta(seconds=1)


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
        self._roster = Roster(name, ports, pace.patience, is_over=self._over_now)
        self._synced_at: datetime | None = None
        self._reload_at = ports.clock()
        self._idle_since: datetime | None = None
        self._last_look = False
        self._parked: list[Observation] = []
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
                if not self._roster.boards and self._idle(now):
                    return False
                if self._roster.boards:
                    self._idle_since = None
                if self._roster.boards and cluster is None:
                    cluster = self._cluster(now)
                if self._roster.boards and cluster and self._watch is None:
                    self._begin_watch(cluster, until - now)
                self._take(self._next_events(now))
                for board in list(self._roster.boards.values()):
                    if self._over_now() or self._ports.clock() >= until:
                        break
                    self._work(board, cluster)
            return not self._aborted.is_set() and (bool(self._roster.boards) or self._roster.open_elsewhere)
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
            max(due, board.rests_until or due) for board in self._roster.boards.values() if (due := board.next_due())
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
                self._roster.strays.see(event, now)
        self._roster.strays.sweep(now)

    def _board_of(self, event: Observation) -> Board | None:
        task_id = event.key.task_id
        try:
            return self._roster.board_of(task_id)
        except TemporaryError as error:
            # A watch says everything once, so what cannot be placed now must be kept.
            self._parked.append(event)
            logger.warning("task cannot be read yet", extra={"taskId": task_id, "error": str(error)})
            return None

    # --- what others may have changed

    def _reload(self, now: datetime) -> None:
        with self._lock:
            kicked, self._kicked = self._kicked, set()
        if kicked:
            self._idle_since = None
            self._last_look = False
        self._roster.begin()
        everything = now >= self._reload_at or None in kicked
        if everything:
            self._reload_at = now + self._pace.reload
        try:
            if everything:
                self._roster.reload_all()
            else:
                for task_id in kicked:
                    self._roster.reload_one(str(task_id))
        except TemporaryError as error:
            # What was asked for is not forgotten: the next beat reads everything.
            self._roster.open_elsewhere = True
            self._reload_at = now + self._pace.reload
            logger.warning("tasks cannot be read now", extra={"error": str(error)})

    def _idle(self, now: datetime) -> bool:
        """Whether nothing was left to do for long enough."""
        if self._roster.open_elsewhere or self._kicked or self._roster.strays.waiting:
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
        if cluster is None or (board.rests_until and self._ports.clock() < board.rests_until):
            return
        with logs.bind(taskId=task.task_id, requestId=task.request_id):
            try:
                work(board, cluster, self._ports, self._ports.clock(), synced_at=self._synced_at)
            except StaleVersion:
                logger.info("task was changed by somebody else, reading it again")
                self.wake(task.task_id)
                return
            except UnreadableDocument as error:
                self._roster.give_up(board.stored, str(error))
                self._put_down(board)
                return
            except IPSError as error:
                # An outage is told once a task, not once a second.
                level = logging.DEBUG if board.trouble == str(error) else logging.WARNING
                logger.log(level, "task cannot be moved on now, trying again", extra={"error": str(error)})
                board.rests_until, board.trouble = self._ports.clock() + LONGEST_PAUSE, str(error)
                return
            if board.trouble:
                logger.info("task moves on again")
            board.rests_until = board.trouble = None
            if board.task.status is not TaskStatus.RUNNING:
                self._put_down(board)

    def _put_down(self, board: Board) -> None:
        # Its slot is free, so whoever waits for one may start; and it may have Jobs to delete.
        self._roster.forget(board.task.task_id)
        self._reload_at = self._ports.clock()
