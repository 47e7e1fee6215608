"""Which tokens are believed."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ips_common.auth.issuer import Issuer
from ips_common.auth.jwk import parse_keys
from ips_common.auth.token import SKEW, TokenVerifier
from ips_common.errors import InvalidCredentials, IssuerUnavailable
from tests.unit.auth.stand_in import (
    AUDIENCE,
    EC_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    StandIn,
    base64url,
    jwk,
    make_token,
    segment,
    sign,
)

DAY = 86_400  # these times are taken when tests are collected, long before the last of them runs


@pytest.fixture
def tokens(stand_in: StandIn) -> TokenVerifier:
    return TokenVerifier(stand_in.url, [AUDIENCE, "second"], Issuer(stand_in.url, tls=stand_in.tls))


@pytest.mark.parametrize("key_id", ["rsa", "ec"])
def test_a_token_of_the_issuer_is_believed(stand_in: StandIn, tokens: TokenVerifier, key_id: str) -> None:
    claims = tokens.verify(stand_in.token(key_id, groups=["release"]))

    assert (claims["email"], claims["groups"]) == ("ada@example.com", ["release"])


@pytest.mark.parametrize("audience", ["second", [AUDIENCE], ["other", "second"]])
def test_one_audience_of_ours_is_enough(stand_in: StandIn, tokens: TokenVerifier, audience: object) -> None:
    assert tokens.verify(stand_in.token(aud=audience))


def test_a_token_without_a_key_id_is_tried_with_every_key(stand_in: StandIn, tokens: TokenVerifier) -> None:
    assert tokens.verify(make_token(EC_KEY, stand_in.claims()))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": [1, {"a": AUDIENCE}]}, "another audience"),
        ({"aud": AUDIENCE + "/"}, "another audience"),
        ({"exp": int(time.time() - SKEW - 5)}, "has expired"),
        ({"exp": None}, "does not say when"),
        ({"exp": "tomorrow"}, "no time"),
        ({"exp": True}, "no time"),
        ({"nbf": int(time.time()) + DAY}, "not valid yet"),
        ({"iat": int(time.time()) + DAY}, "not valid yet"),
    ],
)
def test_a_token_that_is_not_for_us_now_is_refused(
    stand_in: StandIn, tokens: TokenVerifier, changed: dict[str, object], why: str
) -> None:
    with pytest.raises(InvalidCredentials, match=why):
        tokens.verify(stand_in.token(**changed))


def test_clocks_may_differ_a_little(stand_in: StandIn, tokens: TokenVerifier) -> None:
    now = int(time.time())

    assert tokens.verify(stand_in.token(exp=now - int(SKEW / 2)))
    assert tokens.verify(stand_in.token(iat=now + int(SKEW / 2), nbf=now + int(SKEW / 2)))


class TestForgeries:
    def test_without_a_signature(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        claims = segment(stand_in.claims())
        for algorithm in ("none", "None", "", "HS256", "RS512", None, 5):
            with pytest.raises(InvalidCredentials, match="RS256 or ES256"):
                tokens.verify(f"{segment({'alg': algorithm})}.{claims}.")
        with pytest.raises(InvalidCredentials, match="signature is wrong"):
            tokens.verify(f"{segment({'alg': 'RS256', 'kid': 'rsa'})}.{claims}.")

    def test_signed_with_another_key(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        with pytest.raises(InvalidCredentials, match="signature is wrong"):
            tokens.verify(make_token(OTHER_RSA_KEY, stand_in.claims(), kid="rsa"))

    def test_signed_with_a_key_of_another_type(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        signed = f"{segment({'alg': 'ES256', 'kid': 'rsa'})}.{segment(stand_in.claims())}"
        for key in (EC_KEY, RSA_KEY):
            with pytest.raises(InvalidCredentials, match="signature is wrong"):
                tokens.verify(f"{signed}.{base64url(sign(key, signed.encode()))}")

    def test_with_other_claims(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        head, _, signature = stand_in.token().split(".")
        with pytest.raises(InvalidCredentials, match="signature is wrong"):
            tokens.verify(f"{head}.{segment(stand_in.claims(email='boss@example.com'))}.{signature}")

    def test_with_a_header_that_has_to_be_understood(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        for header in ({"crit": ["x"]}, {"kid": 7}, {"kid": ["rsa"]}):
            with pytest.raises(InvalidCredentials, match="not understood"):
                tokens.verify(make_token(RSA_KEY, stand_in.claims(), **{"kid": "rsa", **header}))

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "a",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "...",
            "é.é.é",
            f"{segment([])}.{segment({})}.x",
            "x" * 20000,
            "\x00.\x00.",
        ],
    )
    def test_that_are_no_tokens(self, tokens: TokenVerifier, token: str) -> None:
        with pytest.raises(InvalidCredentials) as refused:
            tokens.verify(token)
        assert not token or len(token) < 4 or token not in str(refused.value)

    def test_nested_beyond_reason(self, tokens: TokenVerifier) -> None:
        with pytest.raises(InvalidCredentials, match="cannot be decoded"):
            tokens.verify(f"{segment({'alg': 'RS256'})}.{base64url(b'[' * 5000)}.x")


class TestKeys:
    def test_are_fetched_once_for_many_tokens(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        for _ in range(5):
            tokens.verify(stand_in.token())

        assert dict(stand_in.asked) == {"/.well-known/openid-configuration": 1, "/keys": 1}

    def test_that_are_new_are_found(self, stand_in: StandIn) -> None:
        clock = [0.0]
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url, tls=stand_in.tls, clock=lambda: clock[0]))
        tokens.verify(stand_in.token())
        stand_in.keys = {"new": OTHER_RSA_KEY}
        with pytest.raises(InvalidCredentials, match="does not publish"):
            tokens.verify(stand_in.token("new"))

        clock[0] += 11

        assert tokens.verify(stand_in.token("new"))

    def test_made_up_ids_do_not_flood_the_issuer(self, stand_in: StandIn, tokens: TokenVerifier) -> None:
        for number in range(20):
            with pytest.raises(InvalidCredentials, match="does not publish"):
                tokens.verify(make_token(OTHER_RSA_KEY, stand_in.claims(), kid=f"made-up-{number}"))

        assert stand_in.asked["/keys"] == 1

    def test_withdrawn_ones_are_forgotten(self, stand_in: StandIn) -> None:
        clock = [0.0]
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url, tls=stand_in.tls, clock=lambda: clock[0]))
        old = stand_in.token()
        tokens.verify(old)
        stand_in.keys = {"new": OTHER_RSA_KEY}

        clock[0] += 601

        with pytest.raises(InvalidCredentials, match="does not publish"):
            tokens.verify(old)

    def test_known_ones_stay_good_for_a_day_while_the_issuer_is_away(self, stand_in: StandIn) -> None:
        clock = [0.0]
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url, tls=stand_in.tls, clock=lambda: clock[0]))
        tokens.verify(stand_in.token())
        stand_in.status = 503

        clock[0] += 23 * 3600
        assert tokens.verify(stand_in.token())

        clock[0] += 2 * 3600
        with pytest.raises(IssuerUnavailable):
            tokens.verify(stand_in.token())

    def test_an_issuer_that_hangs_holds_nobody_up_for_long(self, stand_in: StandIn) -> None:
        tokens = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url, tls=stand_in.tls, timeout=0.2))
        stand_in.answers.clear()

        for _ in range(3):  # only the first waits
            with pytest.raises(IssuerUnavailable):
                tokens.verify(stand_in.token())

    @pytest.mark.parametrize(
        ("discovery", "status", "content"),
        [
            ({"issuer": "https://other.example", "jwks_uri": "https://127.0.0.1/keys"}, 200, None),
            ({"issuer": None}, 200, None),
            ([], 200, None),
            (None, 500, None),
            (None, 302, None),
            (None, 200, b"<html>"),
            (None, 200, b"x" * (1024 * 1024 + 1)),
            (None, 200, b'{"keys": []}'),
        ],
    )
    def test_of_an_issuer_that_answers_nonsense_are_none(
        self, stand_in: StandIn, tokens: TokenVerifier, discovery: object, status: int, content: bytes | None
    ) -> None:
        if discovery is not None:
            stand_in.discovery = discovery
        stand_in.status, stand_in.content = status, content

        with pytest.raises(IssuerUnavailable):
            tokens.verify(stand_in.token())

    @pytest.mark.parametrize("url", ["http://keys.example/keys", "file:///etc/passwd", "https://[", 5])
    def test_are_not_fetched_from_just_anywhere(self, stand_in: StandIn, tokens: TokenVerifier, url: object) -> None:
        stand_in.discovery = {"issuer": stand_in.url, "jwks_uri": url}

        with pytest.raises(IssuerUnavailable):
            tokens.verify(stand_in.token())

    def test_are_not_fetched_from_who_is_not_the_issuer(self, stand_in: StandIn) -> None:
        untrusting = TokenVerifier(stand_in.url, [AUDIENCE], Issuer(stand_in.url))

        with pytest.raises(IssuerUnavailable):
            untrusting.verify(stand_in.token())
        assert not stand_in.asked


def test_keys_that_cannot_be_used_are_left_out() -> None:
    good = jwk(RSA_KEY, "good")
    short = jwk(rsa.generate_private_key(65537, 1024), "short")
    others: list[object] = [
        short,
        {**good, "kid": "encryption", "use": "enc"},
        {**good, "kid": "other-algorithm", "alg": "RS512"},
        {"kid": "secret", "kty": "oct", "k": "AAAA"},
        {"kid": "broken", "kty": "RSA", "n": "?", "e": "AQAB"},
        {"kid": "empty", "kty": "RSA"},
        {**jwk(EC_KEY, "off-the-curve"), "x": base64url(b"\x01" * 32)},
        "not even an object",
    ]

    assert [key.key_id for key in parse_keys({"keys": [*others, good]})] == ["good"]
    nothing: tuple[object, ...] = ({"keys": others}, {"keys": {}}, [], None, 5)
    for nonsense in nothing:
        with pytest.raises(ValueError, match="no RSA or P-256 key"):
            parse_keys(nonsense)
