"""Looking releases up, against a stand-in of Google's metadata server and of its API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials

from ips_common.errors import ReleaseNotFound, ReleasesUnavailable
from ips_common.releases.clouddeploy import CloudDeployReleases
from tests.unit.cluster_adapter.api import Reply
from tests.unit.cluster_adapter.google import Google, error, google
from tests.unit.release.events import RELEASE_NAME, release_answer

ROOT = Path(__file__).resolve().parents[3]
TAGS = [artifact["tag"] for artifact in release_answer()["buildArtifacts"]]


@pytest.fixture
def stand_in() -> Iterator[Google]:
    with google() as running:
        yield running


def reading(api: str, **options: Any) -> CloudDeployReleases:
    credentials: Any = Credentials
    return CloudDeployReleases(api, credentials=lambda: credentials(token="token-1"), **options)


def test_a_release_is_read_with_the_accounts_token(stand_in: Google) -> None:
    stand_in.knows(RELEASE_NAME, release_answer())
    assert reading(f"{stand_in.api.url}/").images(RELEASE_NAME) == TAGS
    (request,) = stand_in.lookups(RELEASE_NAME)
    assert request.headers["Authorization"] == "Bearer token-1"


@pytest.mark.parametrize(
    ("content", "images"),
    [
        ({}, []),
        ({"buildArtifacts": []}, []),
        ({"buildArtifacts": [{"image": "web"}, 7, {"tag": 3}, {"tag": "gcr.io/a/b:1"}]}, ["gcr.io/a/b:1"]),
    ],
)
def test_artifacts_without_a_reference_are_none(stand_in: Google, content: Any, images: list[str]) -> None:
    stand_in.knows(RELEASE_NAME, content)
    assert reading(stand_in.api.url).images(RELEASE_NAME) == images


def test_what_does_not_exist_is_not_asked_for_again(stand_in: Google) -> None:
    stand_in.knows(RELEASE_NAME, error(404, "NOT_FOUND", "Resource was not found"))
    with pytest.raises(ReleaseNotFound, match=f"{RELEASE_NAME} does not exist"):
        reading(stand_in.api.url).images(RELEASE_NAME)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (error(403, "PERMISSION_DENIED", "Permission denied"), r"403: Permission denied; .*clouddeploy\.releases\.get"),
        (error(429, "RESOURCE_EXHAUSTED", "Quota"), "429: Quota"),
        (error(503, "UNAVAILABLE", "Try later"), "503: Try later"),
        (Reply(502, "<html>"), "answers 502"),
        (Reply(302, {}, {"Location": "http://127.0.0.1:1/"}), "answers 302"),
        (Reply(cut=True), "cannot be reached"),
    ],
)
def test_what_may_pass_is_tried_again(stand_in: Google, reply: Reply, told: str) -> None:
    stand_in.knows(RELEASE_NAME, reply)
    with pytest.raises(ReleasesUnavailable, match=told):
        reading(stand_in.api.url).images(RELEASE_NAME)


def test_an_api_that_is_away_is_said_to_be() -> None:
    with pytest.raises(ReleasesUnavailable, match="cannot be reached"):
        reading("http://127.0.0.1:1").images(RELEASE_NAME)


def test_no_credentials_is_a_passing_trouble() -> None:
    def none() -> Any:
        untyped: Any = RefreshError
        raise untyped("the metadata server is away")

    with pytest.raises(ReleasesUnavailable, match="the metadata server is away"):
        CloudDeployReleases("http://127.0.0.1:1", credentials=none).images(RELEASE_NAME)


def test_the_token_comes_from_the_metadata_server_and_is_renewed_when_refused(stand_in: Google, tmp_path: Path) -> None:
    stand_in.knows(RELEASE_NAME, error(401, "UNAUTHENTICATED", "expired"), Reply(body=release_answer()))
    code = (
        "import sys; from ips_common.releases.clouddeploy import CloudDeployReleases as R; "
        "print(*R(sys.argv[1]).images(sys.argv[2]), sep='\\n')"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GOOGLE_")}
    found = subprocess.run(
        [sys.executable, "-c", code, stand_in.api.url, RELEASE_NAME],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT), **stand_in.environment(tmp_path)},
    )
    assert found.stdout.splitlines() == TAGS, found.stderr
    assert len(stand_in.tokens()) == 2
    assert len(stand_in.lookups(RELEASE_NAME)) == 2
