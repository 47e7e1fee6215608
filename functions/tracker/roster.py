"""The tasks of one cluster that the tracker looks after, kept in line with what is stored."""

import logging
from collections.abc import Callable
from datetime import timedelta

from functions.tracker.board import Board
from functions.tracker.cleaning import clean
from functions.tracker.notices import send_overdue
from functions.tracker.ports import Ports
from functions.tracker.strays import Strays
from ips_common import logs
from ips_common.errors import ClusterUnavailable, IPSError, StaleVersion, TaskNotFound, UnreadableDocument
from ips_common.finishing import log_end
from ips_common.launch import announce, launch
from ips_common.models.task import PendingReason, Task, TaskStatus
from ips_common.planning import fail
from ips_common.ports.store import StoredTask
from ips_common.verdict import Patience

logger = logging.getLogger(__name__)

NEW_TASK_PATIENCE = timedelta(seconds=5)
"""How long a new task is left to the function that accepted it."""


class Roster:
    """Boards of the tasks that run, what became of those that are over, and whether others are waiting."""

    def __init__(self, cluster: str, ports: Ports, patience: Patience, is_over: Callable[[], bool]) -> None:
        """Make a roster that knows no task yet.

        Args:
            cluster: its name.
            ports: the adapters and the clock.
            patience: how long nodes may be in trouble.
            is_over: whether tracking is to end.
        """
        self.boards: dict[str, Board] = {}
        self.strays = Strays(cluster, ports.clusters)
        self.open_elsewhere = False
        """Whether there are open tasks that no board is for."""
        self._cluster = cluster
        self._ports = ports
        self._patience = patience
        self._is_over = is_over
        self._away = False
        self._waiting: set[str] = set()

    def begin(self) -> None:
        """Begin another look: a cluster that was away may have come back."""
        self._away = False

    def forget(self, task_id: str) -> None:
        """Look after a task no more."""
        self.boards.pop(task_id, None)

    def reload_all(self) -> None:
        """Bring every task in line, and start what may start.

        Raises:
            TemporaryError: they cannot be read now.
        """
        self._waiting.clear()
        stored = {item.task.task_id: item for item in self._ports.store.open_tasks(self._cluster)}
        for task_id in self.boards.keys() - stored.keys():
            self.forget(task_id)
        for item in stored.values():
            if self._is_over():
                break
            self._review(item)
        waiting = self._start_waiting()
        self.open_elsewhere = waiting or any(task_id not in self.boards for task_id in stored)

    def reload_one(self, task_id: str) -> None:
        """Bring one task in line.

        Raises:
            TemporaryError: it cannot be read now.
        """
        try:
            stored = self._ports.store.task(task_id)
        except (TaskNotFound, UnreadableDocument):
            return
        if stored.task.spec.cluster == self._cluster:
            self._review(stored)
            if task_id in self.boards:
                self.boards[task_id].check_reports = True

    def board_of(self, task_id: str) -> Board | None:
        """Return the board of a task that something was seen of in the cluster, if it runs.

        Raises:
            TemporaryError: the task cannot be read now.
        """
        if not (task_id in self.boards or self.strays.knows(task_id) or task_id in self._waiting):
            self._meet(task_id)
        return self.boards.get(task_id)

    def _meet(self, task_id: str) -> None:
        """Look up the task of an observation that no board is for: it may have begun a moment ago."""
        try:
            stored = self._ports.store.task(task_id)
        except UnreadableDocument as error:
            logger.error("task left out", extra={"error": str(error)})  # noqa: TRY400 - no bug of ours
            self.strays.remember(task_id, None)
            return
        except TaskNotFound:
            # Another installation's, perhaps: what is not ours is left alone.
            self.strays.remember(task_id, None)
            return
        if stored.task.spec.cluster != self._cluster:
            self.strays.remember(task_id, None)
            return
        self._review(stored)
        if stored.task.status.final:
            self.strays.remember(task_id, stored.task.status)
        elif task_id not in self.boards:
            # What is seen of a task that waits is of an attempt that is over: one look until the next beat will do.
            self._waiting.add(task_id)

    def give_up(self, stored: StoredTask, words: str) -> StoredTask:
        """Fail a task whose nodes cannot be read: it would hold its slot, or its place in the queue, for ever.

        Returns:
            The task as it stands; if somebody else wrote it meanwhile, as it was: it is looked at again.
        """
        now = self._ports.clock()
        logger.error("task cannot be tracked", extra={"error": words})
        failed = fail(stored.task, words, now).model_copy(update={"cleanup": True})
        try:
            ended = self._ports.store.save(stored, failed)[0]
        except StaleVersion:
            return stored
        log_end(ended.task, now)
        announce(self._ports.bus, ended.task)
        return ended

    def _review(self, stored: StoredTask) -> None:
        """Bring what the tracker does about a task in line with what is stored."""
        task = stored.task
        with logs.bind(taskId=task.task_id, requestId=task.request_id):
            try:
                stored = self._move(stored)
            except UnreadableDocument as error:
                logger.error("task left out", extra={"error": str(error)})  # noqa: TRY400 - no bug of ours
                self.forget(task.task_id)
                return
            if stored.task.status is not TaskStatus.RUNNING:
                self.forget(task.task_id)

    def _move(self, stored: StoredTask) -> StoredTask:
        """Do what is due about a task."""
        task = stored.task
        if task.cleanup and task.status is not TaskStatus.RUNNING and not self._away:
            stored = self._clean(stored)
        stored = send_overdue(stored, self._ports)
        if self._may_start(stored.task):
            stored = self._launch(stored)
        return self._put_up(stored) if stored.task.status is TaskStatus.RUNNING else stored

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
        try:
            started = launch(stored, store=ports.store, bus=ports.bus, clusters=ports.clusters, now=ports.clock())
        except UnreadableDocument as error:
            return self.give_up(stored, str(error))
        if started.task.status is TaskStatus.RUNNING:
            logger.info("task started", extra={"attempt": started.task.attempt})
        # One that does not answer one of them does not answer the others either: they try it at the next beat.
        self._away = started.task.pending_reason is PendingReason.CLUSTER
        return started

    def _start_waiting(self) -> bool:
        """Start tasks that wait for a slot, in order, while there are slots; returns whether some go on waiting."""
        while queue := self._ports.store.queue(self._cluster, 1):
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
        old = self.boards.get(task.task_id)
        if old and old.stored.version == stored.version:
            return stored
        places = sorted({task.shard_of(batch.number) for batch in task.open_batches})
        try:
            shards = self._ports.store.shards(task.task_id, [(task.attempt, index) for index in places])
        except UnreadableDocument as error:
            return self.give_up(stored, str(error))
        board = Board(stored, shards, self._patience)
        if old and old.task.attempt == task.attempt:
            board.recall(old)
        board.check_reports = True
        self.boards[task.task_id] = board
        return stored

    def _clean(self, stored: StoredTask) -> StoredTask:
        """Delete the Jobs that a task, or its attempt, leaves behind."""
        try:
            return clean(stored, self._ports.clusters.get(self._cluster), self._ports.store)
        except StaleVersion:
            return self._ports.store.task(stored.task.task_id)
        except IPSError as error:
            self._away = isinstance(error, ClusterUnavailable)
            logger.warning("Jobs not deleted yet", extra={"error": str(error)})
            return stored
