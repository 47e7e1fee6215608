"""What happens to a Job: pods, counts, conditions, deadline, backoff limit, suspension and TTL.

`sync` is the whole story, in the order the real controller tells it.
"""

from typing import Any

from deploy.local.cluster.clock import Clock, seconds_of, stamp
from deploy.local.cluster.controllers.job_pods import (
    COMPONENT,
    TRACKING,
    JobPods,
    Pods,
    controlling_job,
    set_unless_zero,
    uncounted,
)
from deploy.local.cluster.controllers.queue import WorkQueue
from deploy.local.cluster.events import EventRecorder
from deploy.local.cluster.kinds import JOBS, PODS
from deploy.local.cluster.pods import is_ready
from deploy.local.cluster.registry import DeleteOptions, Registry
from deploy.local.cluster.store import Change, Key

# The real controller gathers a Job's pod changes for a second before it looks.
POD_BATCH_SECONDS = 1.0
POD_BACKOFF_SECONDS, POD_BACKOFF_MOST = 10.0, 600.0
CREATE_BACKOFF_SECONDS, CREATE_BACKOFF_MOST = 1.0, 60.0

_COMPLETE = ("CompletionsReached", "Reached expected number of succeeded pods")
_DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
_BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")


class JobController:
    """Brings Jobs to their end."""

    def __init__(self, registry: Registry, events: EventRecorder, clock: Clock) -> None:
        self._registry = registry
        self._store = registry.store
        self._events = events
        self._clock = clock
        self._pods = JobPods(registry, events)
        self._queue = WorkQueue(clock, self.sync)
        self._orphans = WorkQueue(clock, self._pods.release_key)
        self._last_failure: dict[str, float] = {}
        self._store.listen(JOBS, self._on_job)
        self._store.listen(PODS, self._on_pod)

    def _on_job(self, change: Change) -> None:
        if change.type == "DELETED":
            self._queue.forget(change.item.key)
            self._last_failure.pop(change.item.obj["metadata"]["uid"], None)
            return
        before = change.previous.obj["metadata"]["generation"] if change.previous else 0
        if change.item.obj["metadata"]["generation"] != before:
            self._queue.add(change.item.key)

    def _on_pod(self, change: Change) -> None:
        meta = change.item.obj["metadata"]
        owner = controlling_job(meta)
        job = self._store.get(JOBS, (meta["namespace"], owner["name"])) if owner else None
        if owner and job is not None and job.obj["metadata"]["uid"] == owner["uid"]:
            if change.type != "ADDED":
                self._queue.add_after(job.key, POD_BATCH_SECONDS)
        elif change.type != "DELETED" and TRACKING in meta.get("finalizers", ()):
            self._orphans.add(change.item.key)

    def sync(self, key: Key) -> None:
        """Look at one Job and take it one step further."""
        item = self._store.get(JOBS, key)
        if item is None:
            return
        job = item.obj
        if _finished(job):
            self._pods.release_all(job)
            self._expire(key, job)
            return
        status = dict(job["status"])
        conditions = list(status.get("conditions") or ())
        pods = self._pods.sort(job)
        failed = status.get("failed", 0) + len(pods.failed)
        succeeded = status.get("succeeded", 0) + len(pods.succeeded)
        if pods.failed:
            self._last_failure[job["metadata"]["uid"]] = self._clock.now()

        self._suspend_or_start(job, status, conditions)
        target = self._target(job, status, conditions, failed, succeeded)
        if target is not None and target[0] == "Failed" and not _has(conditions, "FailureTarget"):
            conditions.append(self._condition("FailureTarget", target[1]))
            self._pods.delete(job, pods)
        elif target is not None and target[0] == "Complete" and not _has(conditions, "SuccessCriteriaMet"):
            conditions.append(self._condition("SuccessCriteriaMet", target[1]))
            self._pods.delete(job, pods)
        elif job["spec"]["suspend"]:
            # Let go first: pods that a suspension deletes are not counted as failed.
            self._pods.release(*pods.active)
            self._pods.delete(job, pods)
        refused = target is None and not self._create_missing(key, job, pods, succeeded, failed)

        set_unless_zero(status, "conditions", conditions)
        set_unless_zero(status, "active", len(pods.active))
        status["terminating"] = len(pods.terminating)
        status["ready"] = sum(is_ready(pod) for pod in pods.active)
        status["uncountedTerminatedPods"] = uncounted(pods)
        self._write(key, status)
        if target is not None or pods.succeeded or pods.failed:
            self._count(key, job, pods, target)
        if refused:
            self._queue.retry(key, CREATE_BACKOFF_SECONDS, CREATE_BACKOFF_MOST)
        else:
            self._queue.forget(key)

    def _suspend_or_start(self, job: dict[str, Any], status: dict[str, Any], conditions: list[dict[str, Any]]) -> None:
        """Keep startTime and the Suspended condition; the deadline runs from startTime."""
        at = next((i for i, one in enumerate(conditions) if one["type"] == "Suspended"), None)
        suspended = at is not None and conditions[at]["status"] == "True"
        if job["spec"]["suspend"]:
            status.pop("startTime", None)
            if not suspended:
                self._replace(conditions, at, self._condition("Suspended", ("JobSuspended", "Job suspended")))
                self._event(job, "Suspended", "Job suspended")
            return
        if suspended:
            resumed = self._condition("Suspended", ("JobResumed", "Job resumed"), "False")
            self._replace(conditions, at, resumed)
            self._event(job, "Resumed", "Job resumed")
        if "startTime" not in status:
            status["startTime"] = stamp(self._clock.now())

    @staticmethod
    def _replace(conditions: list[dict[str, Any]], at: int | None, new: dict[str, Any]) -> None:
        if at is None:
            conditions.append(new)
        else:
            conditions[at] = new

    def _target(
        self,
        job: dict[str, Any],
        status: dict[str, Any],
        conditions: list[dict[str, Any]],
        failed: int,
        succeeded: int,
    ) -> tuple[str, tuple[str, str]] | None:
        """How the Job is to end, with reason and message; None while it goes on."""
        spec = job["spec"]
        for one in conditions:
            if one["type"] in {"FailureTarget", "SuccessCriteriaMet"}:
                ending = "Failed" if one["type"] == "FailureTarget" else "Complete"
                return ending, (one["reason"], one["message"])
        if failed > spec["backoffLimit"]:
            return "Failed", _BACKOFF
        if (deadline := spec.get("activeDeadlineSeconds")) is not None and "startTime" in status:
            left = seconds_of(status["startTime"]) + deadline - self._clock.now()
            if left <= 0:
                return "Failed", _DEADLINE
            self._queue.add_after((job["metadata"]["namespace"], job["metadata"]["name"]), left)
        if succeeded >= spec.get("completions", 1) > 0:
            return "Complete", _COMPLETE
        return None

    def _create_missing(self, key: Key, job: dict[str, Any], pods: Pods, succeeded: int, failed: int) -> bool:
        """Create the pods that are missing; False if one was refused."""
        spec = job["spec"]
        if spec["suspend"] or job["metadata"].get("deletionTimestamp"):
            return True
        wanted = min(spec["parallelism"], spec.get("completions", spec["parallelism"]) - succeeded)
        missing = wanted - len(pods.active) - len(pods.terminating)
        if missing <= 0:
            return True
        if failed:
            wait = min(POD_BACKOFF_SECONDS * 2 ** (failed - 1), POD_BACKOFF_MOST)
            left = self._last_failure.get(job["metadata"]["uid"], 0.0) + wait - self._clock.now()
            if left > 0:
                self._queue.add_after(key, left)
                return True
        return all(self._pods.create(job, pods) for _ in range(missing))

    def _count(self, key: Key, job: dict[str, Any], pods: Pods, target: tuple[str, tuple[str, str]] | None) -> None:
        """Let counted pods go, and end the Job once nothing of it runs any more."""
        self._pods.release(*pods.succeeded, *pods.failed)
        item = self._store.get(JOBS, key)
        if item is None:
            return
        status = dict(item.obj["status"])
        set_unless_zero(status, "succeeded", status.get("succeeded", 0) + len(pods.succeeded))
        set_unless_zero(status, "failed", status.get("failed", 0) + len(pods.failed))
        status["uncountedTerminatedPods"] = {}
        left = self._pods.sort(item.obj)
        status["terminating"] = len(left.terminating)
        if target is not None and not left.active and not left.terminating and not left.failed:
            status["conditions"] = [*status.get("conditions", ()), self._condition(*target)]
            if target[0] == "Complete":
                status["completionTime"] = stamp(self._clock.now())
                self._event(job, "Completed", "Job completed")
            else:
                self._event(job, *target[1], warning=True)
        self._write(key, status)
        ended = self._store.get(JOBS, key)
        if ended is not None and _finished(ended.obj):
            self._expire(key, ended.obj)

    def _expire(self, key: Key, job: dict[str, Any]) -> None:
        """Delete a finished Job, with its pods, once its TTL is over."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or job["metadata"].get("deletionTimestamp"):
            return
        ended = next(c for c in job["status"]["conditions"] if c["type"] in {"Complete", "Failed"})
        left = seconds_of(ended["lastTransitionTime"]) + ttl - self._clock.now()
        if left > 0:
            self._queue.add_after(key, left)
        else:
            self._registry.delete(JOBS, key, DeleteOptions(policy="Foreground", uid=job["metadata"]["uid"]))

    def _write(self, key: Key, status: dict[str, Any]) -> None:
        self._registry.edit(JOBS, key, lambda job: {**job, "status": status})

    def _condition(self, kind: str, why: tuple[str, str], status: str = "True") -> dict[str, Any]:
        now = stamp(self._clock.now())
        times = {"lastProbeTime": now, "lastTransitionTime": now}
        return {"type": kind, "status": status, **times, "reason": why[0], "message": why[1]}

    def _event(self, job: dict[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        self._events.record(JOBS, job, reason, message, component=COMPONENT, warning=warning)


def _finished(job: dict[str, Any]) -> bool:
    conditions = job["status"].get("conditions") or ()
    return any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions)


def _has(conditions: list[dict[str, Any]], kind: str) -> bool:
    return any(one["type"] == kind for one in conditions)
