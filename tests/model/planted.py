"""Bugs to plant, and how long the explorer takes to find each: `python -m tests.model --planted`.

Each is planted in a copy of the code. One that is not found says that the explorer has become blind there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Bug:
    """A change that breaks a promise: in `path`, `right` becomes `wrong`."""

    path: str
    right: str
    wrong: str


BUGS = {
    "results are written over whatever was written since": Bug(
        "functions/tracker/progress.py",
        "stored, written = ports.store.save(board.stored, task, shards)",
        "fresh = {(i.shard.attempt, i.shard.index): i.version for i in ports.store.all_shards(task.task_id)}\n"
        "    shards = [StoredShard(i.shard, fresh[i.shard.attempt, i.shard.index]) for i in shards]\n"
        "    stored, written = ports.store.save(ports.store.task(task.task_id), task, shards)",
    ),
    "a slot is kept while its task waits for a retry": Bug(
        "ips_common/store/lifecycle.py",
        "return before.status is TaskStatus.RUNNING and after.status is not TaskStatus.RUNNING",
        "return before.status is TaskStatus.RUNNING and after.status.final",
    ),
    "a slot goes back with the first result": Bug(
        "ips_common/store/lifecycle.py",
        "return before.status is TaskStatus.RUNNING and after.status is not TaskStatus.RUNNING",
        "return before.status is TaskStatus.RUNNING and after.settled_nodes > 0",
    ),
    "no second look at the task once its Jobs are created": Bug(
        "functions/batch/handler.py",
        "    if outlived(store.task(message.task_id).task, message.attempt):",
        "    if False:",
    ),
    "one batch more than allowed is open": Bug(
        "ips_common/reconcile.py",
        "free = task.window - len(task.open_batches)",
        "free = task.window - len(task.open_batches) + bool(task.open_batches)",
    ),
    "a cancelled task is not marked for cleaning up": Bug(
        "ips_common/reconcile.py",
        'return over.model_copy(update={"cleanup": task.started_at is not None})',
        "return over",
    ),
    "a failed task is not marked for cleaning up": Bug(
        "ips_common/reconcile.py",
        'fail(task, _below(task), now).model_copy(update={"cleanup": True})',
        "fail(task, _below(task), now)",
    ),
    "cleaned up is noted before it is done": Bug(
        "functions/tracker/cleaning.py",
        "    task = stored.task\n",
        "    task = stored.task.model_copy(update={'cleanup': False})\n    stored = store.save(stored, task)[0]\n",
    ),
    "a batch whose Jobs are missing is never sent again": Bug(
        "functions/tracker/progress.py",
        '            logger.warning("Jobs missing, batch sent again"',
        '            return\n            logger.warning("Jobs missing, batch sent again"',
    ),
    "observations of an earlier attempt count for this one": Bug(
        "functions/tracker/board.py",
        "        if observation.key.attempt != self.task.attempt:\n            return\n",
        "",
    ),
    "a task nobody has started yet is not looked for": Bug(
        "ips_common/store/lifecycle.py",
        "(task.status is TaskStatus.PENDING and not waits_for_slot(task))",
        "(task.status is TaskStatus.PENDING and task.pending_reason is not None and not waits_for_slot(task))",
    ),
    "a lost notification is not sent again": Bug(
        "functions/tracker/notices.py", "    if not overdue(stored.task, now):", "    if True:"
    ),
    "a webhook counts as delivered before it is called": Bug(
        "functions/notify/handler.py",
        "    reply = courier.deliver(",
        "    store.transition(task.task_id, lambda task: delivered(task, message.event_id, clock()))\n"
        "    reply = courier.deliver(",
    ),
    "a webhook that was called is not noted": Bug(
        "functions/notify/handler.py",
        "        store.transition(task.task_id, lambda task: delivered(task, message.event_id, now))\n",
        "",
    ),
    "every delivery of an event gets an id of its own": Bug(
        "functions/notify/handler.py",
        "reply = courier.deliver(url, webhook.event_id, encode(",
        "reply = courier.deliver(url, f'{webhook.event_id}.{webhook.attempts}', encode(",
    ),
    "an event says when it was sent": Bug(
        "functions/notify/event.py", "        time=ended,\n", "        time=task.webhook.sent_at or ended,\n"
    ),
    "a receiver that is away is told nothing more": Bug(
        "functions/notify/handler.py",
        '    raise TemporaryError(f"webhook not delivered: {reply.problem}")',
        "    return Outcome.UNWANTED",
    ),
    "a webhook that is given up goes on being due": Bug(
        "ips_common/finishing.py",
        "    return _noted(task, state=WebhookState.FAILED, last_error",
        "    return _noted(task, last_error",
    ),
    "a batch is settled when one node is missing": Bug(
        "functions/tracker/board.py",
        "if self._unsettled[batch.number] == 0}",
        "if self._unsettled[batch.number] <= 1 < self.task.spec.batch_size}",
    ),
    "results that were written are written again": Bug(
        "functions/tracker/board.py", "        self._results.clear()\n", ""
    ),
    "a node stays counted in the attempt it failed in": Bug(
        "ips_common/planning.py", "superseded=True, earlier=state.earlier", "superseded=False, earlier=state.earlier"
    ),
    "images of a retried node are counted twice": Bug(
        "ips_common/planning.py", "digests[image.image][image.digest] -= 1", "pass"
    ),
    "what is seen while the store is away is forgotten": Bug(
        "functions/tracker/run.py", "            self._parked.append(event)\n", ""
    ),
    "Jobs are deleted before the task counts as cancelled": Bug(
        "ips_common/cancel.py",
        "    task = store.transition(task_id, lambda task: cancelled(task, now)).task\n",
        "    before = store.task(task_id).task\n    _delete_jobs(before, clusters)\n"
        "    task = store.transition(task_id, lambda task: cancelled(task, now)).task\n"
        '    task = store.transition(task_id, lambda task: task.model_copy(update={"cleanup": False})).task\n',
    ),
    "an idempotency key is forgotten": Bug(
        "ips_common/accept.py", "        key,\n    )\n    if not new:", "        None,\n    )\n    if not new:"
    ),
    "a release makes a task each time it is announced": Bug(
        "ips_common/rules.py",
        "    event = () if image.digest else (",
        "    event = (release.event_id,) if image.digest else (",
    ),
    "a DaemonSet is never deleted": Bug(
        "functions/tracker/cleaning.py",
        "        cluster.delete_daemonsets(task.task_id)\n",
        "        return store.save(stored, task.model_copy(update={'cleanup': False}))[0]\n",
    ),
    "a completed task's DaemonSet is not marked for cleaning up": Bug(
        "ips_common/reconcile.py",
        "cleanup = task.failed_nodes > 0 or task.is_daemonset",
        "cleanup = task.failed_nodes > 0",
    ),
    "a late batch leaves its DaemonSet": Bug(
        "ips_common/finishing.py",
        "        return task.status is not TaskStatus.RUNNING or task.attempt != attempt\n    return",
        "        return task.status is TaskStatus.CANCELLED\n    return",
    ),
    "a slot is given back although its task goes on": Bug(
        "ips_common/store/memory.py",
        "        if before is not None and frees_slot(before, task):",
        "        if before is not None and before.status is TaskStatus.RUNNING and task.opened > before.opened > 0:\n"
        "            data.slots.get(task.spec.cluster, set()).discard(task.task_id)\n"
        "        if before is not None and frees_slot(before, task):",
    ),
    "one task more than allowed runs": Bug(
        "ips_common/store/memory.py", "if len(slots) >= self._max_tasks:", "if len(slots) > self._max_tasks:"
    ),
    "the queue is worked off from its end": Bug(
        "ips_common/store/memory.py",
        "key=lambda stored: queue_key(stored.task))[:limit]",
        "key=lambda stored: queue_key(stored.task), reverse=True)[:limit]",
    ),
    "whoever asks starts, whoever waits": Bug(
        "ips_common/launch.py", "        if not _first_in_line(stored.task, store):", "        if False:"
    ),
    "a lease is taken from a living tracker": Bug(
        "functions/tracker/lease.py",
        "if seen is None or not seen.holder or time.monotonic() - since >= self._seconds:",
        "if True:",
    ),
    "a lease is not renewed": Bug(
        "functions/tracker/lease.py",
        "while not self._stop.wait(self._seconds / 3):",
        "while not self._stop.wait(self._seconds * 3):",
    ),
    "a tracker does not ask for the lease": Bug(
        "functions/tracker/runner.py",
        "        if not lease.acquire(give_up=",
        "        if not lease.acquire(give_up=lambda: True) and False and not lease.acquire(give_up=",
    ),
    "a lost lease ends nothing": Bug("functions/tracker/lease.py", "        self._on_lost()\n", ""),
    "a lease is kept when tracking is over": Bug(
        "functions/tracker/runner.py",
        "        finally:\n            lease.release()",
        "        finally:\n            pass",
    ),
    "a kick that comes too late for the tracker's last look is dropped": Bug(
        "functions/tracker/runner.py", "missed = run.kicked and not broken", "missed = False and not broken"
    ),
    "a dead letter is not reported": Bug(
        "functions/tracker/handler.py",
        "    store.report(task.task_id, BatchReport(message.attempt, message.batch, problems))\n",
        "",
    ),
    "Jobs of cancelled tasks are left for a while": Bug(
        "functions/tracker/strays.py", "if status is TaskStatus.CANCELLED else ENDING", "if False else ENDING"
    ),
    "strays are never deleted": Bug("functions/tracker/strays.py", "            cluster.delete_named_jobs(due)\n", ""),
    "the tracker goes while strays wait": Bug(
        "functions/tracker/run.py",
        "self._roster.open_elsewhere or self._kicked or self._roster.strays.waiting",
        "self._roster.open_elsewhere or self._kicked",
    ),
    "shards of batches that open are not loaded": Bug(
        "functions/tracker/progress.py",
        "loaded = ports.store.shards(task.task_id, board.missing_shards(task))",
        "loaded = ports.store.shards(task.task_id, board.missing_shards(task)[1:])",
    ),
    "an expired wait for a retry is forgotten": Bug(
        "functions/tracker/roster.py",
        "return task.not_before is None or task.not_before <= now",
        "return task.not_before is None",
    ),
}


def hunt_all(words: Sequence[str], seconds: float) -> int:
    """Plant bugs one by one; returns how many the explorer did not find.

    Args:
        words: what the names of the bugs contain; none for all of them.
        seconds: how long to look for each.
    """
    chosen = [name for name in BUGS if not words or any(word in name for word in words)]
    missed = 0
    sys.stdout.write("| planted bug | steps | s | found by |\n|---|---|---|---|\n")
    for name in chosen:
        found, line = _hunt(BUGS[name], seconds)
        missed += not found
        sys.stdout.write(f"| {name} | {line} |\n")
        sys.stdout.flush()
    sys.stdout.write(f"planted: {len(chosen)} bugs, {missed} not found\n")
    return missed


def _hunt(bug: Bug, seconds: float) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as folder:
        for part in ("functions", "ips_common", "tests/model"):
            shutil.copytree(ROOT / part, Path(folder, part))
        shutil.copy(ROOT / "tests/__init__.py", Path(folder, "tests"))
        path = Path(folder, bug.path)
        code = path.read_text()
        if code.count(bug.right) != 1:
            return False, f"- | - | cannot be planted: {bug.path} has changed"
        path.write_text(code.replace(bug.right, bug.wrong))
        result = subprocess.run(
            [sys.executable, "-m", "tests.model", "--seconds", str(seconds), "--seed", "1", "--no-shrink"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    last = result.stdout.strip().rpartition("\n")[2]
    figures = re.search(r"(\d+) steps .* (\d+) s, (\d+) violations", last)
    if figures is None:
        return False, f"- | - | the explorer broke off: {result.stderr[-300:]}"
    found = figures[3] != "0"
    words = re.sub(r"task-\d+-[0-9a-f]+", "TASK", result.stdout.split("\n", 1)[0]).replace("|", "/")
    return found, f"{figures[1]} | {figures[2]} | {words[:120] if found else 'NOT FOUND'}"
