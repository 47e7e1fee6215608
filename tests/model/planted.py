"""Bugs to plant, and how long the explorer takes to find each: `python -m tests.model.planted [NAME ...]`.

Each is planted in a copy of the code. One that is not found says that the explorer has become blind there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = "4000"


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
        "    if _withdrawn(message, store):",
        "    if False and _withdrawn(message, store):",
    ),
    "one batch more than allowed is open": Bug(
        "ips_common/reconcile.py",
        "free = task.spec.max_concurrent_batches - len(task.open_batches)",
        "free = task.spec.max_concurrent_batches - len(task.open_batches) + bool(task.open_batches)",
    ),
    "a node that has a result gets another": Bug(
        "ips_common/reconcile.py",
        "        if nodes[position].result is None:\n            nodes[position] = replace",
        "        if True:\n            nodes[position] = replace",
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
        "functions/tracker/run.py",
        "            if task.status is TaskStatus.CANCELLED:\n                cluster.",
        '            stored = self._ports.store.save(stored, task.model_copy(update={"cleanup": False}))[0]\n'
        "            if task.status is TaskStatus.CANCELLED:\n                cluster.",
    ),
    "a batch is acknowledged although Jobs are missing, and never sent again": Bug(
        "functions/tracker/progress.py",
        "            task, shards = board.fold()\n            _save(board, resent(",
        "            return\n            task, shards = board.fold()\n            _save(board, resent(",
    ),
    "observations of an earlier attempt count for this one": Bug(
        "functions/tracker/board.py",
        "if node is None or observation.key.attempt != self.task.attempt:",
        "if node is None:",
    ),
    "messages are sent before what they are about is written": Bug(
        "ips_common/launch.py",
        "    return store.start(stored, step.task, shards, taken_over), step.messages",
        "    announce(bus, step.task, step.messages)\n"
        "    return store.start(stored, step.task, shards, taken_over), ()",
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
        "functions/tracker/run.py", "                self._parked.append(event)\n", ""
    ),
    "a Job that vanished is still believed in": Bug(
        "functions/tracker/board.py",
        '            if observation.kind == "Job":\n',
        '            if observation.kind == "":\n',
    ),
    "Jobs are deleted before the task counts as cancelled": Bug(
        "ips_common/cancel.py",
        "    task = store.transition(task_id, lambda task: cancelled(task, now)).task\n",
        "    before = store.task(task_id).task\n    _delete_jobs(before, clusters)\n"
        "    task = store.transition(task_id, lambda task: cancelled(task, now)).task\n"
        '    task = store.transition(task_id, lambda task: task.model_copy(update={"cleanup": False})).task\n',
    ),
    "an idempotency key is forgotten": Bug(
        "functions/api/handler.py", "deps.store.create_task(task, key)", "deps.store.create_task(task, None)"
    ),
}


def main(names: list[str]) -> int:
    """Plant bugs one by one; returns how many the explorer did not find."""
    missed = 0
    for name in names or BUGS:
        found, words = _hunt(BUGS[name])
        missed += not found
        sys.stdout.write(f"{'found' if found else 'MISSED'}\t{name}\t{words}\n")
        sys.stdout.flush()
    return missed


def _hunt(bug: Bug) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory() as folder:
        for part in ("functions", "ips_common", "tests/model"):
            shutil.copytree(ROOT / part, Path(folder, part))
        shutil.copy(ROOT / "tests/__init__.py", Path(folder, "tests"))
        path = Path(folder, bug.path)
        code = path.read_text()
        if code.count(bug.right) != 1:
            return False, f"cannot be planted: {bug.path} has changed"
        path.write_text(code.replace(bug.right, bug.wrong))
        result = subprocess.run(
            [sys.executable, "-m", "tests.model"],
            cwd=folder,
            env={
                "MODEL_EXAMPLES": EXAMPLES,
                **os.environ,
                "PYTHONPATH": folder,
                "MODEL_SEED": "1",
                "MODEL_SHRINK": "0",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    last = result.stdout.strip().rpartition("\n")[2]
    figures = re.search(r"(\d+) steps in (\d+) examples.* (\d+) violations", last)
    if figures is None:
        return False, f"the explorer broke off: {result.stderr[-300:]}"
    words = result.stdout.split("\n", 1)[0][:100] if figures[3] != "0" else ""
    return figures[3] != "0", f"{figures[1]} steps, {figures[2]} examples\t{words}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
