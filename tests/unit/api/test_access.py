"""Who may do what, for every way of telling callers apart."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from functions.api.callers import IAP_HEADER, SIGNATURE_REMOVED, by_api_key, by_cloud_run, by_iap, by_token
from ips_common.auth.api_key import ApiKey, ApiKeys, new_key
from ips_common.auth.issuer import Issuer
from ips_common.auth.token import TokenVerifier
from ips_common.models.access import Role, Roles
from ips_common.wiring.auth import IAP_ISSUER
from tests.unit.api.conftest import TASKS, Api, problem
from tests.unit.auth.stand_in import AUDIENCE, EC_KEY, StandIn, issuer, make_token, segment

WRITER_KEY, WRITER_HASH = new_key()
READER_KEY, READER_HASH = new_key()
KEYS = ApiKeys([ApiKey("ci", Role.WRITER, WRITER_HASH), ApiKey("board", Role.READER, READER_HASH)])
ROLES = Roles(["ada@example.com", "groups=release"], ["@example.com"])
WITH_CALLERS = (TASKS, f"{TASKS}/x", f"{TASKS}/x/nodes", f"{TASKS}/x/gate", "/api/v1/predictions", "/metrics")
WITHOUT = ("/health", "/healthz", "/ready", "/readyz", "/openapi.json")


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """An OpenID issuer on this machine."""
    with issuer() as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def challenged(api: Api, headers: dict[str, str], *, error: str | None) -> dict[str, Any]:
    """Check that a request with these headers is refused as nobody's, and return the problem."""
    answer = api.get(TASKS, **headers)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="ips"')
    assert (f'error="{error}"' in challenge) if error else ("error" not in challenge)
    return problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("path", WITH_CALLERS)
def test_whoever_sends_nothing_is_asked_to_say_who_it_is(path: str) -> None:
    answer = Api(deps={"authenticate": by_api_key(KEYS)}).get(path)

    problem(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ips"'


@pytest.mark.parametrize("path", WITHOUT)
def test_probes_and_the_description_are_open(path: str) -> None:
    assert Api(deps={"authenticate": by_api_key(KEYS)}).get(path).status_code == 200


def test_changing_something_needs_a_caller_before_anything_else() -> None:
    api = Api(deps={"authenticate": by_api_key(KEYS)})

    problem(api.client.post(f"{TASKS}?what=1", data=b"{", content_type="text/plain"), 401, "unauthenticated")
    problem(api.client.delete(f"{TASKS}/x"), 401, "unauthenticated")


class TestApiKeys:
    @pytest.fixture
    def api(self) -> Api:
        return Api(deps={"authenticate": by_api_key(KEYS)})

    @pytest.mark.parametrize(
        "headers", [{"X-API-Key": WRITER_KEY}, bearer(WRITER_KEY), {"Authorization": f"bearer  {WRITER_KEY}"}]
    )
    def test_a_writer_may_write_and_is_recorded(self, api: Api, headers: dict[str, str]) -> None:
        answer = api.post(headers=headers)

        assert (answer.status_code, answer.get_json()["createdBy"]) == (201, "ci")

    def test_a_reader_may_only_read(self, api: Api) -> None:
        refused = api.post(headers={"X-API-Key": READER_KEY})

        problem(refused, 403, "read-only")
        assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
        assert api.get(TASKS, **{"X-API-Key": READER_KEY}).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-API-Key": "x"},
            {"X-API-Key": WRITER_KEY[:-1]},
            {"X-API-Key": WRITER_HASH},
            {"X-API-Key": "é" * 300},
            bearer(WRITER_KEY + "x"),
            {"Authorization": f"Basic {WRITER_KEY}"},
            {"Authorization": WRITER_KEY},
            {"Authorization": "Bearer"},
            {"X-API-Key": WRITER_KEY, **bearer(READER_KEY)},
        ],
    )
    def test_anything_else_is_nobody(self, api: Api, headers: dict[str, str]) -> None:
        challenged(api, headers, error="invalid_token")

    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": " ", "Authorization": ""}])
    def test_nothing_is_nobody_without_blame(self, api: Api, headers: dict[str, str]) -> None:
        challenged(api, headers, error=None)


class TestTokens:
    @pytest.fixture
    def api(self, stand_in: StandIn) -> Api:
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url))
        return Api(deps={"authenticate": by_token(tokens, ROLES)})

    def test_a_writer_may_write_and_is_recorded_by_address(self, api: Api, stand_in: StandIn) -> None:
        assert api.post(headers=bearer(stand_in.token("ec"))).get_json()["createdBy"] == "ada@example.com"

    def test_a_writer_without_an_address_is_recorded_by_subject(self, api: Api, stand_in: StandIn) -> None:
        token = stand_in.token(email=None, groups=["release"])

        assert api.post(headers=bearer(token)).get_json()["createdBy"] == "1234567890"

    def test_a_reader_may_only_read(self, api: Api, stand_in: StandIn) -> None:
        token = bearer(stand_in.token(email="bob@example.com"))

        problem(api.post(headers=token), 403, "read-only")
        assert api.get(TASKS, **token).status_code == 200

    @pytest.mark.parametrize("verified", [False, None, "false", 1.5, [True], {"true": True}])
    def test_an_address_that_is_not_verified_counts_for_nothing(
        self, api: Api, stand_in: StandIn, verified: object
    ) -> None:
        answer = api.get(TASKS, **bearer(stand_in.token(email_verified=verified)))

        problem(answer, 403, "not-permitted")

    def test_who_is_in_no_list_may_nothing(self, api: Api, stand_in: StandIn) -> None:
        problem(api.get(TASKS, **bearer(stand_in.token(email="eve@evil.example"))), 403, "not-permitted")

    @pytest.mark.parametrize("sub", ["", 5, None, "x" * 256, "a\nb"])
    def test_a_token_has_to_name_somebody(self, api: Api, stand_in: StandIn, sub: object) -> None:
        challenged(api, bearer(stand_in.token(email=None, sub=sub, groups="release")), error="invalid_token")

    def test_one_that_has_expired_says_so_and_is_not_repeated(self, api: Api, stand_in: StandIn) -> None:
        token = stand_in.token(exp=int(time.time()) - 3600)

        assert challenged(api, bearer(token), error="invalid_token")["detail"] == "the token has expired"

    def test_garbage_is_nobody(self, api: Api) -> None:
        for token in ("x", "a.b.c", "...", "é.é.é"):
            challenged(api, bearer(token), error="invalid_token")

    def test_while_the_issuer_is_away_nobody_can_be_told_apart(self, api: Api, stand_in: StandIn) -> None:
        stand_in.status = 500

        answer = api.get(TASKS, **bearer(stand_in.token()))

        problem(answer, 503, "issuer-unavailable")
        assert answer.headers["Retry-After"] == "5"


class TestIdentityAwareProxy:
    @pytest.fixture
    def api(self, stand_in: StandIn) -> Api:
        assertions = TokenVerifier(IAP_ISSUER, ["/projects/1/x"], Issuer(IAP_ISSUER, f"{stand_in.url}/keys"))
        return Api(deps={"authenticate": by_iap(assertions, ROLES)})

    @staticmethod
    def assertion(stand_in: StandIn, **changed: object) -> dict[str, str]:
        claims = stand_in.claims(**{"iss": IAP_ISSUER, "aud": "/projects/1/x", "email_verified": None, **changed})
        return {IAP_HEADER: make_token(EC_KEY, claims, kid="ec")}

    def test_its_assertion_is_believed(self, api: Api, stand_in: StandIn) -> None:
        assert api.post(headers=self.assertion(stand_in)).get_json()["createdBy"] == "ada@example.com"

    def test_one_for_another_service_is_not(self, api: Api, stand_in: StandIn) -> None:
        challenged(api, self.assertion(stand_in, aud="/projects/2/x"), error="invalid_token")

    def test_headers_it_does_not_sign_count_for_nothing(self, api: Api, stand_in: StandIn) -> None:
        unsigned = {"X-Goog-Authenticated-User-Email": "accounts.google.com:ada@example.com"}

        challenged(api, {**unsigned, **bearer(stand_in.token())}, error=None)


class TestCloudRun:
    @pytest.fixture
    def api(self) -> Api:
        return Api(deps={"authenticate": by_cloud_run(ROLES)})

    @staticmethod
    def token(email: str = "ada@example.com", signature: str = SIGNATURE_REMOVED, **changed: object) -> str:
        claims = {"iss": "https://accounts.google.com", "sub": "1", "email": email, "email_verified": True, **changed}
        return f"{segment({'alg': 'RS256'})}.{segment(claims)}.{signature}"

    def test_a_token_it_has_checked_is_believed(self, api: Api) -> None:
        for header in ("Authorization", "X-Serverless-Authorization"):
            answer = api.post(headers={header: f"Bearer {self.token()}"})
            assert answer.get_json()["createdBy"] == "ada@example.com"

    def test_a_token_it_has_not_checked_is_not(self, api: Api) -> None:
        for signature in ("", "c2lnbmF0dXJl", SIGNATURE_REMOVED.lower()):
            document = challenged(api, bearer(self.token(signature=signature)), error="invalid_token")
            assert "allUsers" in document["detail"]

    def test_beside_the_header_it_has_checked_the_other_one_is_not_read(self, api: Api) -> None:
        forged = bearer(self.token())
        checked = self.token(email="bob@example.com")

        problem(api.post(headers={**forged, "X-Serverless-Authorization": f"Bearer {checked}"}), 403, "read-only")
        challenged(api, {**forged, "X-Serverless-Authorization": ""}, error=None)

    def test_two_tokens_in_one_header_are_none(self, api: Api) -> None:
        checked = self.token(email="bob@example.com")

        challenged(api, {"Authorization": f"Bearer {checked},Bearer {self.token()}"}, error="invalid_token")

    def test_a_token_that_is_not_googles_own_is_not_believed(self, api: Api) -> None:
        challenged(api, bearer(self.token(iss="robot@project.iam.gserviceaccount.com")), error="invalid_token")

    def test_nothing_is_nobody(self, api: Api) -> None:
        challenged(api, {}, error=None)
