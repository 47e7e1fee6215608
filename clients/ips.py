#!/usr/bin/env python3
"""The command line of IPS: one file, Python 3.9 or newer, nothing to install.

    export IPS_URL=https://ips.example.com IPS_TOKEN="$(gcloud auth print-identity-token)"
    ips.py prewarm ghcr.io/acme/shop:1.4.2 --select pool=web --min 0.95 && kubectl apply -f shop.yaml

Every request is repeated while the service is away, too busy or silent, which is safe: a task is created under an
idempotency key, and everything else may be asked twice. Exit codes are for scripts:

    0  done: the nodes hold the images, or what was asked for was answered
    1  not done: too few nodes can hold the images, or the task ended another way
    2  the command line or the request is wrong, or not permitted
    3  the service gave no answer in time
    4  the time is up and the nodes are not ready yet
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any, NamedTuple

DONE, NOT_DONE, REFUSED, AWAY, LATE = range(5)

LONGEST_GATE = 10.0
"""Seconds one call of the gate waits, so that progress is shown in between."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries, whatever Retry-After says."""
REQUEST_TIMEOUT = 60.0
GRACE = 10.0
"""Seconds an answer may come late: the gate waits until the time is up, and then has to be heard."""
PATIENCE = 120.0
"""Seconds a request that is not about waiting is repeated for."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that another try may change; 500 is one, because Google's front end answers it for instances that died."""


_BROKEN = (OSError, ValueError, http.client.HTTPException)
"""What a connection that ends in the middle of an answer looks like."""


class Failed(Exception):
    """The command ends here, with a message and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):
    """What the service answered: the HTTP status and the JSON."""

    status: int
    body: dict[str, Any]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the API never redirects, and a caller's token goes to nobody else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Service:
    """The API, asked until it answers."""

    def __init__(self, url: str, *, api_key: str | None = None, token: str | None = None) -> None:
        if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise Failed(f"say where the API answers, with IPS_URL or --url: {url!r} is no http(s) address", REFUSED)
        self._url = url.rstrip("/")
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._headers = {"Accept": "application/json", "User-Agent": "ips-cli"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        if api_key:
            self._headers["X-API-Key"] = api_key

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        until: float | None = None,
    ) -> Answer:
        """Return the first answer that another try would not change.

        Args:
            method: the HTTP method.
            path: path and query.
            body: sent as JSON.
            headers: in addition to the caller's identity.
            until: when to give up, on the monotonic clock; by default after `PATIENCE` seconds.

        Raises:
            Failed: there was none in time.
        """
        until = time.monotonic() + PATIENCE if until is None else until
        pause = 0.5
        while True:
            problem, retry_after = "", 0.0
            try:
                answer, retry_after = self._once(method, path, body, headers or {}, until)
            except _BROKEN as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            else:
                if answer.status not in PASSING:
                    return answer
                problem = _detail(answer)
            wait = min(max(pause, retry_after), LONGEST_PAUSE)
            if time.monotonic() + wait >= until:
                raise Failed(f"{self._url} gives no answer: {problem}", AWAY)
            _say(f"{self._url}: {problem}; trying again in {wait:.0f} s")
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _once(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], until: float
    ) -> tuple[Answer, float]:
        """Ask once; returns the answer and how many seconds to wait before asking again."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, **headers, **({"Content-Type": "application/json"} if data else {})}
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)  # noqa: S310 - scheme checked
        timeout = min(REQUEST_TIMEOUT, max(0.0, until - time.monotonic()) + GRACE)
        try:
            with self._opener.open(request, timeout=timeout) as got:
                return Answer(got.status, json.loads(got.read())), 0.0
        except urllib.error.HTTPError as error:
            with error:
                try:
                    content = json.loads(error.read())
                except _BROKEN:
                    content = {}
                after = error.headers.get("Retry-After", "")
                seconds = float(after) if after.isdigit() else 0.0
                return Answer(error.code, content if isinstance(content, dict) else {}), seconds


def _detail(answer: Answer) -> str:
    """Say what is wrong, field by field where the service does."""
    what = answer.body.get("detail") or answer.body.get("title") or "no explanation"
    fields = [f"\n  {item.get('field')}: {item.get('message')}" for item in answer.body.get("errors") or []]
    return f"{answer.status} {what}{''.join(fields)}"


def _expect(answer: Answer) -> dict[str, Any]:
    if answer.status >= 300:
        raise Failed(_detail(answer), NOT_DONE if answer.status == 409 else REFUSED)
    return answer.body


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _task_path(task_id: str, tail: str = "") -> str:
    return f"/api/v1/tasks/{urllib.parse.quote(task_id, safe='')}{tail}"


def _spec(args: argparse.Namespace) -> dict[str, Any]:
    """Return the request that the options ask for; what was not given is left to the service's defaults."""
    spec: dict[str, Any] = json.loads(args.set) if args.set else {}
    spec["images"] = args.images
    if args.select:
        spec["nodeSelector"] = dict(args.select)
    given = {"batchSize": args.batch_size, "maxConcurrentBatches": args.batches, "cluster": args.cluster}
    return {**spec, **{name: value for name, value in given.items() if value is not None}}


def prewarm(service: Service, args: argparse.Namespace) -> int:
    """Create a task and wait until enough nodes hold its images."""
    until = time.monotonic() + args.timeout
    key = args.key or str(uuid.uuid4())
    task = _expect(
        service.ask("POST", "/api/v1/tasks", body=_spec(args), headers={"Idempotency-Key": key}, until=until)
    )
    _say(f"task {task['taskId']}")
    if args.no_wait:
        print(task["taskId"])
        return DONE
    return _wait(service, task["taskId"], args.min, until)


def gate(service: Service, args: argparse.Namespace) -> int:
    """Wait until enough nodes hold a task's images."""
    return _wait(service, args.task, args.min, time.monotonic() + args.timeout)


def _wait(service: Service, task_id: str, share: float, until: float) -> int:
    shown = ""
    while (left := until - time.monotonic()) > 0:
        query = urllib.parse.urlencode({"min": share, "waitSeconds": f"{min(LONGEST_GATE, left):.1f}"})
        answer = service.ask("GET", _task_path(task_id, f"/gate?{query}"), until=until)
        state = answer.body.get("gate") if answer.status == 409 else answer.body
        if answer.status not in {200, 202, 409} or not isinstance(state, dict):
            _expect(answer)
            raise Failed(_detail(answer), REFUSED)
        line = "{completedNodes} of {totalNodes} nodes ready, {failedNodes} failed ({status})".format_map(state)
        if line != shown:
            _say(line)
            shown = line
        if answer.status != 202:
            break
    else:
        raise Failed(f"task {task_id} is not ready in time", LATE)
    print(task_id)
    if answer.status == 200:
        return DONE
    _tell_failures(service, task_id)
    return NOT_DONE


def _tell_failures(service: Service, task_id: str) -> None:
    task = _expect(service.ask("GET", _task_path(task_id)))
    if task["errorMessage"]:
        _say(task["errorMessage"])
    for failure in task["failedNodeDetails"]:
        _say("{nodeName}: {image}: {reason}: {message}".format_map(failure))


def plan(service: Service, args: argparse.Namespace) -> int:
    """Show what a task would do; nothing is stored."""
    return _show(_expect(service.ask("POST", "/api/v1/tasks?dryRun=true", body=_spec(args))))


def show(service: Service, args: argparse.Namespace) -> int:
    """Show a task."""
    return _show(_expect(service.ask("GET", _task_path(args.task))))


def cancel(service: Service, args: argparse.Namespace) -> int:
    """Cancel a task."""
    return _show(_expect(service.ask("DELETE", _task_path(args.task))))


def nodes(service: Service, args: argparse.Namespace) -> int:
    """Show every node's result, one JSON object a line."""
    return _show_all(service, _task_path(args.task, "/nodes"), "nodes", {"status": args.status, "limit": "100"})


def tasks(service: Service, args: argparse.Namespace) -> int:
    """Show tasks, newest first, one JSON object a line."""
    asked = {"status": args.status, "cluster": args.cluster, "limit": str(min(100, args.limit))}
    return _show_all(service, "/api/v1/tasks", "tasks", asked, args.limit)


def _show(body: dict[str, Any]) -> int:
    print(json.dumps(body, indent=2, ensure_ascii=False))
    return DONE


def _show_all(service: Service, path: str, noun: str, asked: dict[str, str | None], most: float = float("inf")) -> int:
    query = {name: value for name, value in asked.items() if value}
    shown = 0
    while True:
        page = _expect(service.ask("GET", f"{path}?{urllib.parse.urlencode(query)}"))
        for item in page[noun]:
            if shown >= most:
                return DONE
            print(json.dumps(item, ensure_ascii=False))
            shown += 1
        if not page["nextPageToken"] or shown >= most:
            return DONE
        query["pageToken"] = page["nextPageToken"]


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected LABEL=VALUE, not {text!r}")
    return name, value


def _object(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return text


def _share(text: str) -> float:
    """Return a share of nodes, written as 0.95 or 95%."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share such as 0.95 or 95%, not {text!r}")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="ips.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--url", default=os.environ.get("IPS_URL"), help="where the API answers (IPS_URL)")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    wanted = argparse.ArgumentParser(add_help=False)
    wanted.add_argument("images", nargs="+", metavar="IMAGE")
    wanted.add_argument("--select", action="append", type=_label, metavar="LABEL=VALUE", help="nodes to choose")
    wanted.add_argument("--batch-size", type=int, metavar="NODES")
    wanted.add_argument("--batches", type=int, metavar="N", help="batches in flight at once")
    wanted.add_argument("--cluster")
    wanted.add_argument("--set", type=_object, metavar="JSON", help="any further fields of the request, as an object")

    waiting = argparse.ArgumentParser(add_help=False)
    waiting.add_argument("--min", type=_share, default=0.95, metavar="SHARE", help="nodes that must be ready (0.95)")
    waiting.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="how long to wait (3600)")

    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("task", metavar="TASK")

    def command(name: str, run: Any, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__, parents=list(parents))
        made.set_defaults(run=run)
        return made

    creating = command("prewarm", prewarm, wanted, waiting)
    creating.add_argument("--key", help="idempotency key: the same key creates one task, however often it is asked for")
    creating.add_argument("--no-wait", action="store_true", help="print the task's id and leave")
    command("plan", plan, wanted)
    command("gate", gate, one, waiting)
    command("show", show, one)
    command("cancel", cancel, one)
    command("nodes", nodes, one).add_argument("--status")
    listing = command("tasks", tasks)
    listing.add_argument("--status")
    listing.add_argument("--cluster")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="most tasks to show (20)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = parser().parse_args(arguments)
    try:
        service = Service(args.url or "", api_key=os.environ.get("IPS_API_KEY"), token=os.environ.get("IPS_TOKEN"))
        code: int = args.run(service, args)
    except Failed as failed:
        _say(f"ips: {failed}")
        return failed.code
    except BrokenPipeError:
        # Whoever read the output has had enough; nothing may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    else:
        return code
    return DONE


if __name__ == "__main__":
    sys.exit(main())
