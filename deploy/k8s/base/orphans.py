"""Delete Jobs and DaemonSets of IPS that nobody looks after any more.

Normally there are none: a Job has a deadline and a TTL, and the tracker deletes a DaemonSet when its nodes are settled.
So what is there long after both has lost whoever would have deleted it. What is deleted by mistake, because IPS was
away for as long, is made again by the batch's next message, and its images are on the nodes by then.

It runs by itself, on nothing but Python, in whatever image holds that.
"""

import argparse
import http.client
import json
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

SELECTOR = "app=image-prewarm"
KINDS = {"Job": "/apis/batch/v1", "DaemonSet": "/apis/apps/v1"}

SLACK = timedelta(hours=1)
"""How late a control plane may be with a deadline or a TTL."""
LONGEST_SET = timedelta(hours=6)
"""How old a DaemonSet of an attempt may become: its nodes have two hours at most, and time to be scheduled."""

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 500
_SECONDS = 30.0

Object = Mapping[str, Any]


def is_orphan(kind: str, obj: Object, now: datetime) -> bool:
    """Whether nobody looks after a Job or DaemonSet any more.

    Args:
        kind: `Job` or `DaemonSet`.
        obj: as the API server has it.
        now: the time.
    """
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return False
    created = _time(metadata["creationTimestamp"])
    if kind == "DaemonSet":
        return now > created + LONGEST_SET
    ended = [
        _time(condition["lastTransitionTime"])
        for condition in status.get("conditions") or ()
        if condition["type"] in {"Complete", "Failed"} and condition["status"] == "True"
    ]
    if ended:
        return now > max(ended) + timedelta(seconds=spec.get("ttlSecondsAfterFinished") or 0) + SLACK
    began = _time(status["startTime"]) if status.get("startTime") else created
    return now > began + timedelta(seconds=spec.get("activeDeadlineSeconds") or 0) + SLACK


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Refused(Exception):
    """The API server said no."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status = status


class Api:
    """The API server, as a service account sees it."""

    def __init__(self, server: str, account: Path) -> None:
        """Take note of where it is; nothing is contacted.

        Args:
            server: its https URL.
            account: a folder with `token` and `ca.crt`.
        """
        address = urlsplit(server)
        self._host, self._port = address.hostname or "", address.port
        self._account = account
        self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def list(self, path: str) -> Iterator[Object]:
        """Yield all objects of IPS, page by page."""
        token = ""
        while True:
            query = {"labelSelector": SELECTOR, "limit": str(_PAGE)} | ({"continue": token} if token else {})
            page = self._send("GET", f"{path}?{urlencode(query)}")
            yield from page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def delete(self, path: str, uid: str) -> bool:
        """Delete one object with its pods; false if it has gone, or is another by now."""
        try:
            self._send("DELETE", path, {"propagationPolicy": "Background", "preconditions": {"uid": uid}})
        except Refused as error:
            if error.status not in {404, 409}:
                raise
            return False
        return True

    def _send(self, method: str, path: str, body: object = None) -> Any:
        # The kubelet renews the token in its file.
        token = (self._account / "token").read_text(encoding="ascii").strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise Refused(answer.status, content[:500].decode(errors="replace"))
        return json.loads(content)


def sweep(api: Api, namespace: str, now: datetime) -> int:
    """Delete every orphan of a namespace and say so, one line of JSON each; returns how many there were."""
    deleted = 0
    for kind, group in KINDS.items():
        path = f"{group}/namespaces/{namespace}/{kind.lower()}s"
        found = [obj["metadata"] for obj in api.list(path) if is_orphan(kind, obj, now)]
        for metadata in found:
            if api.delete(f"{path}/{metadata['name']}", metadata["uid"]):
                deleted += 1
                fields = {"kind": kind, "name": metadata["name"], "created": metadata["creationTimestamp"]}
                _say("WARNING", "orphan deleted", **fields)
    _say("INFO", "orphans looked for", deleted=deleted)
    return deleted


def _say(severity: str, message: str, **fields: object) -> None:
    """Write a log entry as Cloud Logging reads it."""
    sys.stdout.write(json.dumps({"severity": severity, "message": message, **fields}) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and sweep once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", required=True, help="where IPS creates its Jobs")
    parser.add_argument("--server", default="https://kubernetes.default.svc", help="the API server")
    parser.add_argument("--account", type=Path, default=_ACCOUNT, help="a folder with token and ca.crt")
    given = parser.parse_args(arguments)
    try:
        sweep(Api(given.server, given.account), given.namespace, datetime.now(UTC))
    except (OSError, http.client.HTTPException, Refused) as error:
        _say("ERROR", "orphans could not be looked for", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
