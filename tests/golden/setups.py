"""What was done between the recorded steps: the recording shows answers, not every preparation for them."""

import copy
import time
from collections.abc import Callable
from typing import Any

from tests.golden.client import Client
from tests.golden.recordings import Step, steps

_JOBS = "/apis/batch/v1/namespaces/golden/jobs"
_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/golden"
_WAIT_SECONDS = 10.0
_SLOW = "slow9.example/a:1"
_IPS = "ips-functions@demo.iam.gserviceaccount.com"
# Tells the replay that a recorded value is now called something else.
Learn = Callable[[Any, Any], None]
Setup = Callable[[Client, Step, Learn], None]


def _job(name: str, task: str, node: str, image: str) -> dict[str, Any]:
    """A Job as the recorded ones were made."""
    recorded = next(step for step in steps() if step.what.startswith("create: the answer carries the defaults"))
    job: dict[str, Any] = copy.deepcopy(recorded.body)
    labels = {"app": "image-prewarm", "task-id": task, "node": node}
    template = job["spec"]["template"]
    job["metadata"] = {"name": name, "labels": labels}
    template["metadata"]["labels"] = labels
    term = template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    term["nodeSelectorTerms"][0]["matchFields"][0]["values"] = [node]
    template["spec"]["containers"][0]["image"] = image
    return job


def _wait(client: Client, name: str, condition: Callable[[Any], bool]) -> Any:
    """Read a Job until its body (a Status once it is gone) is as wanted."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        body = client.send("GET", f"{_JOBS}/{name}").body
        if condition(body):
            return body
        assert time.monotonic() < deadline, f"Job {name}: {body}"
        time.sleep(0.01)


def _is_active(body: Any) -> bool:
    return bool(body["status"].get("active") == 1)


def _pages(client: Client, _step: Step, _learn: Learn) -> None:
    names = [f"page-{index}" for index in range(7)]
    for index, name in enumerate(names):
        client.create(_JOBS, _job(name, "page", f"node-{index + 4:05d}", "nginx:1.27"))
    for name in names:
        _wait(client, name, lambda body: "completionTime" in body["status"])


def _to_delete(client: Client, _step: Step, _learn: Learn) -> None:
    for index, name in enumerate(("d1", "d2", "d3")):
        client.create(_JOBS, _job(name, "del", f"node-{index + 5:05d}", _SLOW))
    for name in ("d1", "d2", "d3"):
        _wait(client, name, _is_active)


def _to_update(client: Client, step: Step, learn: Learn) -> None:
    client.create(_JOBS, _job("u1", "upd", "node-00008", _SLOW))
    learn(step.body, _wait(client, "u1", _is_active))


def _grant(client: Client, _step: Step, _learn: Learn) -> None:
    rule = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list"]}
    client.create(f"{_RBAC}/roles", {"metadata": {"name": "ips"}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ips"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _IPS}
    client.create(f"{_RBAC}/rolebindings", {"metadata": {"name": "ips"}, "roleRef": role, "subjects": [subject]})


def _limit_jobs(client: Client, _step: Step, _learn: Learn) -> None:
    _wait(client, "d3", lambda body: body["kind"] == "Status")
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/jobs.batch": "1"}}}
    client.create("/api/v1/namespaces/golden/resourcequotas", quota)


SETUPS: dict[tuple[str, int], Setup] = {
    ("04-list", 0): _pages,
    ("06-delete", 0): _to_delete,
    ("07-update", 0): _to_update,
    ("08-rbac", 4): _grant,
    ("09-quota", 0): _limit_jobs,
}
