"""Who wanted to change what: one entry each, and no secret in any entry."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Request

from functions.api.callers import Caller, by_api_key, by_token
from ips_common.auth.api_key import ApiKey, ApiKeys, new_key
from ips_common.auth.issuer import Issuer
from ips_common.auth.token import TokenVerifier
from ips_common.logs import JsonFormatter
from ips_common.models.access import Role, Roles
from tests.unit.api.conftest import TASKS, Api
from tests.unit.auth.stand_in import AUDIENCE, issuer

KEY, HASH = new_key()
READER_KEY, READER_HASH = new_key()
KEYS = ApiKeys([ApiKey("ci", Role.WRITER, HASH), ApiKey("board", Role.READER, READER_HASH)])


class Lines(logging.Handler):
    """Keeps every entry as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(JsonFormatter("project", "api"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def audit(self) -> list[dict[str, Any]]:
        return [entry for line in self.lines if (entry := json.loads(line))["message"] == "audit"]


@pytest.fixture
def written() -> Iterator[Lines]:
    """Everything that is logged, debugging included."""
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@pytest.fixture
def api() -> Api:
    return Api(deps={"authenticate": by_api_key(KEYS)}, max_pending_tasks=1)


def test_a_change_leaves_one_entry_with_who_what_and_which_request(api: Api, written: Lines) -> None:
    headers = {"X-API-Key": KEY, "X-Request-Id": "release-42"}

    task_id = api.post(headers=headers).get_json()["taskId"]
    api.client.delete(f"{TASKS}/{task_id}", headers=headers)

    created, cancelled = written.audit
    labels = {"taskId": task_id, "cluster": "default", "requestId": "release-42", "function": "api"}
    for entry, action, status in ((created, "createTask", 201), (cancelled, "cancelTask", 200)):
        assert entry["severity"] == "INFO"
        assert entry["logging.googleapis.com/labels"] == labels
        assert (entry["action"], entry["decision"], entry["status"]) == (action, "allowed", status)
        assert (entry["caller"], entry["images"]) == ("ci", 1)


@pytest.mark.parametrize(
    ("key", "status", "code", "caller"),
    [
        ("", 401, "unauthenticated", None),
        ("wrong", 401, "unauthenticated", None),
        (READER_KEY, 403, "read-only", "board"),
    ],
    ids=["none", "unknown", "reader"],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_so_does_a_refused_one(
    api: Api, written: Lines, method: str, key: str, status: int, code: str, caller: str | None
) -> None:
    path = TASKS if method == "POST" else f"{TASKS}/task-1"
    api.client.open(path, method=method, headers={"X-API-Key": key}, json={"images": ["nginx"]})

    (entry,) = written.audit
    assert (entry["decision"], entry["status"], entry["code"], entry["caller"]) == ("refused", status, code, caller)
    assert entry["action"] == {"POST": "createTask", "DELETE": "cancelTask"}[method]


def test_so_does_one_that_finds_the_queue_full(api: Api, written: Lines) -> None:
    api.store_waiting()

    assert api.post(headers={"X-API-Key": KEY}).status_code == 429

    (entry,) = written.audit
    assert (entry["decision"], entry["code"], entry["caller"]) == ("refused", "too-many-tasks", "ci")


def test_so_does_one_that_fails(api: Api, written: Lines) -> None:
    api.store.down = True

    assert api.post(headers={"X-API-Key": KEY}).status_code == 503

    (entry,) = written.audit
    assert (entry["decision"], entry["code"]) == ("failed", "store-unavailable")


def test_a_dry_run_is_told_from_a_change(api: Api, written: Lines) -> None:
    api.post(headers={"X-API-Key": KEY}, query="?dryRun=true")

    (entry,) = written.audit
    assert entry["dryRun"] is True


def test_reading_leaves_none_unless_it_is_refused(written: Lines) -> None:
    tokens = by_api_key(KEYS)
    api = Api(deps={"authenticate": tokens})

    for path in (TASKS, f"{TASKS}/none", "/health", "/nowhere", "/metrics"):
        api.get(path, **{"X-API-Key": READER_KEY})
    assert not written.audit

    api.get(TASKS)
    (entry,) = written.audit
    assert (entry["action"], entry["decision"]) == ("listTasks", "refused")


def test_a_caller_who_is_in_no_list_is_named(written: Lines) -> None:
    with issuer() as stand_in:
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url))
        api = Api(deps={"authenticate": by_token(tokens, Roles(["boss@example.com"], []))})
        api.post(headers={"Authorization": f"Bearer {stand_in.token()}"})

    (entry,) = written.audit
    assert (entry["code"], entry["caller"]) == ("not-permitted", "ada@example.com")


def test_no_secret_reaches_the_logs(written: Lines) -> None:
    """Every place in which a caller may put a secret, on the way to every kind of answer."""

    def crash(request: Request) -> Caller:
        raise RuntimeError(f"cannot say who asks for {request.path}")

    secrets = [f"planted-{number}-s3cret" for number in range(6)]
    header, key, url, parameter, agent, field = secrets
    with issuer() as stand_in:
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url))
        token = stand_in.token()
        forged = f"{stand_in.token().rpartition('.')[0]}.{header}"
        by_tokens = by_token(tokens, Roles(["*"], []))
        for authenticate in (by_tokens, by_api_key(KEYS), crash):
            api = Api(deps={"authenticate": authenticate})
            for authorization in (token, forged, header, f"{header}.{header}.{header}", KEY, READER_KEY):
                headers = {
                    "Authorization": f"Bearer {authorization}",
                    "Idempotency-Key": key,
                    "Cookie": agent,
                    "X-Goog-IAP-JWT-Assertion": header,
                    "Proxy-Authorization": f"Basic {header}",
                }
                webhook = f"https://hooks.example/{url}?token={url}"
                api.post({"images": ["nginx"], "webhookUrl": webhook}, headers=headers)
                api.post({"images": ["nginx"], "webhookUrl": f"https://u:{url}@hooks.example/"}, headers=headers)
                api.post({"images": [field], field: field, "cluster": field}, headers=headers)
                api.post(headers=headers, query=f"?dryRun={parameter}&{parameter}=1")
                api.client.post(TASKS, data=f'{{"{field}', content_type="application/json", headers=headers)
                api.client.get(f"{TASKS}?pageToken={parameter}", headers=headers)

    everything = "\n".join(written.lines)
    assert "audit" in everything
    assert "cannot say who asks" in everything
    for secret in (*secrets, token, forged, token.rpartition(".")[2], KEY, READER_KEY, HASH, READER_HASH):
        assert secret not in everything
