"""Telling callers apart, configured and served as deployed: a process of the API for each way."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.environment import inherited_environment
from deploy.local.parts import ROOT
from deploy.local.ports import HOST, Ports
from deploy.local.readiness import answers
from deploy.local.stack import Stack
from functions.api.callers import SIGNATURE_REMOVED
from ips_common.auth.api_key import new_key
from tests.integration.access import Answer, request, until
from tests.unit.auth.stand_in import AUDIENCE, issuer, segment

BODY = {"images": ["registry.example/access/a:1"], "nodeSelector": {"no": "such"}}
KEY, HASH = new_key()


@contextmanager
def serving(stack: Stack, folder: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Run the API on the stack's parts with these variables; yields the URL of the tasks."""
    ports = Ports()
    port = ports.free()
    environment = {**inherited_environment(), **stack.env, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "functions_framework", "--target", "api", "--source", "functions/api/main.py"],
            env={**environment, "HOST": HOST, "PORT": str(port), **variables},
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            until(answers(port, "/health"), "the API answers", 30)
            yield f"http://{HOST}:{port}/api/v1/tasks"
        finally:
            process.terminate()
            process.wait(40)
            ports.release()


def audit(folder: Path) -> list[tuple[str, int, str | None]]:
    """The audit entries so far: decision, status, caller."""
    entries = [json.loads(line) for line in (folder / "log").read_text().splitlines() if line.startswith("{")]
    return [(each["decision"], each["status"], each["caller"]) for each in entries if each["message"] == "audit"]


def post(url: str, headers: Mapping[str, str]) -> Answer:
    return request(url, "POST", BODY, dict(headers))


def test_api_keys_and_allowed_images(stack: Stack, tmp_path: Path) -> None:
    variables = {
        "IPS_AUTH": "api-key",
        "IPS_API_KEYS": json.dumps({"ci": {"role": "writer", "hash": HASH}}),
        "IPS_ALLOWED_IMAGES": "registry.example/access/**",
    }
    with serving(stack, tmp_path, variables) as url:
        assert post(url, {}).status == 401
        assert post(url, {"X-API-Key": "wrong"}).headers["WWW-Authenticate"].startswith("Bearer")
        created = post(url, {"X-API-Key": KEY})
        refused = request(url, "POST", {"images": ["nginx"]}, {"X-API-Key": KEY})
        log = (tmp_path / "log").read_text()

    assert (created.status, created.body["createdBy"]) == (201, "ci")
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "images[0]")
    assert audit(tmp_path) == [
        ("refused", 401, None),
        ("refused", 401, None),
        ("allowed", 201, "ci"),
        ("refused", 422, "ci"),
    ]
    assert KEY not in log
    assert HASH not in log


def test_id_tokens_of_an_issuer_over_https(stack: Stack, tmp_path: Path) -> None:
    with issuer(tmp_path) as stand_in:
        variables = {
            "IPS_AUTH": "oidc",
            "IPS_OIDC_ISSUER": stand_in.url,
            "IPS_OIDC_AUDIENCE": AUDIENCE,
            "IPS_WRITERS": "ada@example.com",
            "IPS_READERS": "@example.com",
            "SSL_CERT_FILE": str(tmp_path / "certificate.pem"),
        }
        with serving(stack, tmp_path, variables) as url:
            writer, reader, stranger, forged = (
                {"Authorization": f"Bearer {token}"}
                for token in (
                    stand_in.token("ec"),
                    stand_in.token(email="bob@example.com"),
                    stand_in.token(email="eve@evil.example"),
                    stand_in.token()[:-8] + "AAAAAAAA",
                )
            )
            created = post(url, writer)
            statuses = [post(url, headers).status for headers in (reader, stranger, forged)]
            read = request(url, headers=reader)

    assert (created.status, created.body["createdBy"]) == (201, "ada@example.com")
    assert statuses == [403, 403, 401]
    assert read.status == 200
    assert stand_in.asked["/keys"] == 1


def test_tokens_that_cloud_run_has_checked(stack: Stack, tmp_path: Path) -> None:
    claims = {"iss": "https://accounts.google.com", "email": "ada@example.com", "email_verified": True}
    checked = f"{segment({'alg': 'RS256'})}.{segment(claims)}.{SIGNATURE_REMOVED}"
    with serving(stack, tmp_path, {"IPS_AUTH": "iam", "K_SERVICE": "api"}) as url:
        created = post(url, {"Authorization": f"Bearer {checked}"})
        refused = post(url, {"Authorization": f"Bearer {checked[:-4]}"})

    assert (created.status, created.body["createdBy"]) == (201, "ada@example.com")
    assert refused.status == 401


@pytest.mark.parametrize("variable", ["IPS_AUTH", "IPS_ALLOWED_IMAGES"])
def test_an_api_that_would_be_left_open_by_a_slip_does_not_start(stack: Stack, variable: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "functions_framework", "--target", "api", "--source", "functions/api/main.py"],
        env={**os.environ, **stack.env, "PYTHONPATH": str(ROOT), "PORT": "0", variable: "ghcr"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr
