"""Moving one running task on: from what its board knows to what is stored, published and deleted."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from functions.tracker.board import Board, OpenNode
from functions.tracker.ports import Ports
from ips_common.errors import BusUnavailable, ClusterRefused
from ips_common.finishing import log_end, notifications
from ips_common.models.message import Outgoing
from ips_common.models.results import Problem, Reason
from ips_common.models.task import OpenBatch, Task
from ips_common.naming import daemonset_name
from ips_common.ports.cluster import Cluster
from ips_common.ports.store import StoredShard
from ips_common.reconcile import abandon, advance, gives_up_at, message, out_of_reach, resend_at, resent
from ips_common.verdict import Suspicion

logger = logging.getLogger(__name__)

MOST_LOOKS = 20
"""Suspect nodes that are read one by one; more of them are read as one list."""


_EXAMPLES = 5
"""Failed nodes that a log entry names; all of them are on the task."""

SIGHT = timedelta(seconds=60)
"""How long a cluster must have been in sight before nodes are given up for want of a Job: it may have been away."""


def work(board: Board, cluster: Cluster, ports: Ports, now: datetime, *, synced_at: datetime | None) -> None:
    """Judge what is due and write what follows; `synced_at` is since when the watch knows every Job there is.

    Raises:
        StaleVersion: somebody else wrote the task; read it again.
        TemporaryError: the store or the cluster is away; nothing is lost, call again.
    """
    suspects = board.judge(now)
    if suspects:
        _look_closer(board, suspects, cluster, now)
    if synced_at:
        _chase(board, cluster, ports, synced_at, now)
    if board.settled() or _is_due(board, now):
        _write(board, cluster, ports, now)


def _is_due(board: Board, now: datetime) -> bool:
    flush_at = board.flush_at()
    return flush_at is not None and flush_at <= now


def _look_closer(board: Board, suspects: Sequence[OpenNode], cluster: Cluster, now: datetime) -> None:
    refused = [node for node in suspects if node.suspicion is Suspicion.REFUSAL]
    doubtful = [node for node in suspects if node.suspicion is Suspicion.NODE]
    if refused:
        words = cluster.refusals().messages
        for node in refused:
            job = node.sight.job
            board.judge_refusal(node, words.get(job.name) if job else None, now)
    _look_at_nodes(board, doubtful, cluster, now)


def _look_at_nodes(board: Board, doubtful: Sequence[OpenNode], cluster: Cluster, now: datetime) -> None:
    if len(doubtful) > MOST_LOOKS:
        found = {node.name: node for node in cluster.nodes({}, ())}
        for node in doubtful:
            board.judge_node(node, found.get(node.name), now)
    else:
        for node in doubtful:
            board.judge_node(node, cluster.node(node.name), now)


def _chase(board: Board, cluster: Cluster, ports: Ports, synced_at: datetime, now: datetime) -> None:
    """Look after batches whose Jobs do not appear: read what the batch function reported, or send the batch again."""
    if board.task.is_daemonset:
        _chase_daemonset(board, cluster, ports, synced_at, now)
        return
    for batch in board.task.open_batches:
        due = resend_at(batch) <= now
        if not (due or board.check_reports):
            continue
        without = board.without_job(batch)
        if not without:
            continue
        if _take_report(board, batch, without, ports, now):
            return
        without = board.without_job(batch)
        if not without or not due:
            continue
        if now >= max(gives_up_at(board.task, batch), synced_at + SIGHT):
            problem = Problem(Reason.JOB_CREATE_FAILED, f"no Job appeared after {batch.sends} attempts", retryable=True)
            for node in without:
                board.fail_node(node, problem, now)
        else:
            logger.warning("Jobs missing, batch sent again", extra={"batch": batch.number, "missing": len(without)})
            task, shards = board.fold()
            _save(board, resent(task, batch.number, now), shards, ports)
            _publish(ports, [message(board.task, batch)])
    board.check_reports = False


def _chase_daemonset(board: Board, cluster: Cluster, ports: Ports, synced_at: datetime, now: datetime) -> None:
    """Look after nodes without a pod: there may be no DaemonSet yet, no node any more, or nobody who makes the pod.

    Whatever is known of the first open batch goes for all of them: its message makes the pods of all nodes.
    """
    batch = next(iter(board.task.open_batches), None)
    if batch is None or not board.without_pod():
        return
    due = resend_at(batch) <= now
    if not board.roll.exists and (due or board.check_reports):
        if _take_report(board, batch, board.without_pod(), ports, now):
            return
        board.check_reports = False
    if board.roll.exists or due:
        made = _seek_pods(board, batch, cluster, synced_at, now)
        if made or not (without := board.without_pod()):
            return
        if now >= max(gives_up_at(board.task, batch), synced_at + SIGHT):
            words = f"no DaemonSet appeared after {batch.sends} attempts"
            for node in without:
                board.fail_node(node, Problem(Reason.JOB_CREATE_FAILED, words, retryable=True), now)
        else:
            logger.warning("DaemonSet missing, batch sent again", extra={"missing": len(without)})
            board.roll.progress_at = now
            task, shards = board.fold()
            _save(board, resent(task, batch.number, now), shards, ports)
            _publish(ports, [message(board.task, batch)])


def _seek_pods(board: Board, batch: OpenBatch, cluster: Cluster, synced_at: datetime, now: datetime) -> bool:
    """Find out why nodes of a DaemonSet have no pod; returns whether there is a DaemonSet.

    Its controller makes the pods of thousands of nodes in minutes, so as long as there are ever more of them nothing is
    wrong, and one that could not be made may have been a passing trouble.
    """
    task, roll, patience = board.task, board.roll, board.patience
    since = max(roll.progress_at or batch.opened_at, synced_at)
    stalled_at = since + patience.schedule
    if roll.look_at and now < (max(roll.look_at, stalled_at) if roll.exists else roll.look_at):
        return True
    made = roll.exists or _has_daemonset(task, cluster)
    _look_at_nodes(board, board.without_pod(), cluster, now)
    if not made:
        return False
    never = [node for node in board.without_pod() if node.sight.job is None]
    roll.look_at = now + (patience.look if never else patience.schedule)
    if not never or now < stalled_at:
        return True
    words = cluster.refusals().messages.get(daemonset_name(task.task_id, task.attempt))
    if words is None and now >= since + patience.pull:
        words = "the DaemonSet controller made no pod; admission control or a quota may refuse it"
    if words is not None:
        for node in never:
            board.judge_refusal(node, words, now)
    return True


def _has_daemonset(task: Task, cluster: Cluster) -> bool:
    try:
        return cluster.has_daemonsets(task.task_id)
    except ClusterRefused:
        return False  # making it once more will tell


def _take_report(board: Board, batch: OpenBatch, without: Sequence[OpenNode], ports: Ports, now: datetime) -> bool:
    """Settle nodes that the batch function reported; true if the report ended the whole task."""
    task = board.task
    for report in ports.store.reports(task.task_id, [(task.attempt, batch.number)]):
        if report.refusal is not None:
            problem = Problem(Reason.JOB_CREATE_FAILED, report.refusal, retryable=False)
            what = "DaemonSets" if task.is_daemonset else "Jobs"
            _abandon(board, problem, f"the cluster refuses {what}: {report.refusal}", ports, now)
            return True
        problems = dict(report.problems)
        if task.is_daemonset and problems:
            problems = dict.fromkeys((node.name for node in without), next(iter(problems.values())))
        for node in without:
            if node.name in problems:
                board.fail_node(node, problems[node.name], now)
    return False


def _abandon(board: Board, problem: Problem, words: str, ports: Ports, now: datetime) -> None:
    """Fail the task as a whole; every node of the attempt gets a result."""
    stored = [item for item in ports.store.all_shards(board.task.task_id) if item.shard.attempt == board.task.attempt]
    task, folded = board.fold(stored)
    failed, settled = abandon(task, [item.shard for item in folded], problem, words, now)
    changed = [StoredShard(new, old.version) for old, new in zip(stored, settled, strict=True) if new is not old.shard]
    known = board.task
    _save(board, failed, changed, ports)
    _log_failures(known, failed)
    log_end(failed, now)
    _publish(ports, notifications(failed))


def _write(board: Board, cluster: Cluster, ports: Ports, now: datetime) -> None:
    task, shards = board.fold()
    if task.spec.fail_fast and task.settled_nodes < task.total_nodes and out_of_reach(task):
        problem = Problem(Reason.NOT_ATTEMPTED, "the task failed fast before this node was settled", retryable=False)
        _abandon(board, problem, f"failed fast: {task.failed_nodes} of {task.total_nodes} nodes failed", ports, now)
        return
    settled, leftovers = board.settled(), board.leftovers()
    step = advance(task, settled, now)
    known = board.task
    _save(board, step.task, shards, ports)
    _log_failures(known, task)
    log_end(step.task, now)
    _publish(ports, [*step.messages, *notifications(step.task)])
    if step.reason:
        logger.info(
            step.reason,
            extra={
                "batches": [message.batch for message in step.messages],
                "completed": step.task.completed_nodes,
                "failed": step.task.failed_nodes,
            },
        )
    for batch in leftovers:
        cluster.delete_jobs(task.task_id, batch=batch, attempt=task.attempt, unfinished_only=True)


def _log_failures(before: Task, after: Task) -> None:
    """Log why nodes have failed since `before`; one entry for all of them, with a few by name."""
    reasons = Counter(after.failure_reasons) - Counter(before.failure_reasons)
    if not reasons:
        return
    details = after.failed_node_details[len(before.failed_node_details) :]
    logger.warning(
        "nodes failed",
        extra={
            "nodes": after.failed_nodes - before.failed_nodes,
            "reasons": dict(reasons),
            "examples": [
                {"node": one.node_name, "image": one.image, "reason": one.reason} for one in details[:_EXAMPLES]
            ],
        },
    )


def _save(board: Board, task: Task, shards: Sequence[StoredShard], ports: Ports) -> None:
    # Read what the newly opened batches need before writing: after the write nothing may fail.
    loaded = ports.store.shards(task.task_id, board.missing_shards(task))
    stored, written = ports.store.save(board.stored, task, shards)
    board.saved(stored, written, loaded)


def _publish(ports: Ports, messages: Sequence[Outgoing]) -> None:
    if not messages:
        return
    try:
        ports.bus.publish(messages)
    except BusUnavailable as error:
        logger.warning("messages not published, they will be sent again", extra={"error": str(error)})
