"""Who asks. How a caller is told apart is one function; everything else only sees a `Caller`."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Request
from werkzeug.datastructures import Headers

from functions.api.problems import Problem, Refusal
from ips_common.auth.api_key import ApiKeys
from ips_common.auth.token import TokenVerifier, unverified_claims
from ips_common.errors import InvalidCredentials
from ips_common.models.access import Claims, Role, Roles

SIGNATURE_REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in place of the signature of a token it has checked."""
IAP_HEADER = "X-Goog-IAP-JWT-Assertion"
API_KEY_HEADER = "X-API-Key"

_SERVERLESS = "X-Serverless-Authorization"
_AUTHORIZATION = "Authorization"
_GOOGLE = frozenset({"https://accounts.google.com", "accounts.google.com"})
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone who may read, and perhaps write; `name` is recorded as a task's `createdBy`."""

    name: str | None
    may_write: bool


Authenticate = Callable[[Request], Caller]
"""Resolves the caller of a request, or ends it with a `Refusal`."""


def anyone(request: Request) -> Caller:
    """Let everybody do everything, nameless: who may come at all is decided in front of the function."""
    del request
    return Caller(name=None, may_write=True)


def by_api_key(keys: ApiKeys) -> Authenticate:
    """Tell callers apart by their API keys."""

    def authenticate(request: Request) -> Caller:
        given = {_single(request.headers, API_KEY_HEADER), _bearer(request.headers, _AUTHORIZATION)} - {None}
        if not given:
            raise unauthenticated(f"send an API key as {API_KEY_HEADER} or as Authorization: Bearer", begins=True)
        if len(given) > 1:
            raise unauthenticated("there are two different API keys")
        known = keys.find(given.pop() or "")
        if known is None:
            raise unauthenticated("the API key is not known")
        return Caller(name=known.name, may_write=known.role is Role.WRITER)

    return authenticate


def by_token(tokens: TokenVerifier, roles: Roles) -> Authenticate:
    """Tell callers apart by the ID tokens of an issuer."""

    def authenticate(request: Request) -> Caller:
        token = _bearer(request.headers, _AUTHORIZATION)
        if token is None:
            raise unauthenticated("send an ID token as Authorization: Bearer", begins=True)
        claims = _verified(tokens, token)
        # Some issuers write it as a string.
        return _caller(claims, roles, email_verified=claims.get("email_verified") in (True, "true"))

    return authenticate


def by_iap(assertions: TokenVerifier, roles: Roles) -> Authenticate:
    """Tell callers apart by what Identity-Aware Proxy says and signs; what it does not sign counts for nothing."""

    def authenticate(request: Request) -> Caller:
        assertion = _single(request.headers, IAP_HEADER)
        if assertion is None:
            raise unauthenticated("the request did not come through Identity-Aware Proxy", begins=True)
        # IAP asserts no address that Google has not verified.
        return _caller(_verified(assertions, assertion), roles, email_verified=True)

    return authenticate


def by_cloud_run(roles: Roles) -> Authenticate:
    """Tell callers apart by the tokens that Cloud Run has checked and taken the signature from.

    That is only worth something while every request is checked: while `allUsers` is no invoker. Cloud Run checks
    X-Serverless-Authorization if it is there, and then passes on Authorization as it came, so that one is not read.
    """

    def authenticate(request: Request) -> Caller:
        header = _SERVERLESS if _SERVERLESS in request.headers else _AUTHORIZATION
        token = _bearer(request.headers, header)
        if token is None:
            raise unauthenticated("send an ID token as Authorization: Bearer", begins=True)
        try:
            claims, signature = unverified_claims(token)
        except InvalidCredentials as error:
            raise unauthenticated(str(error)) from error
        if signature != SIGNATURE_REMOVED:
            raise unauthenticated("Cloud Run has not checked this token; is the function open to allUsers?")
        # Only Google's own tokens say what Google has checked; in others anything but the subject is made up.
        if claims.get("iss") not in _GOOGLE:
            raise unauthenticated("the token is not from Google")
        return _caller(claims, roles, email_verified=claims.get("email_verified") is True)

    return authenticate


def unauthenticated(detail: str, *, begins: bool = False) -> Refusal:
    """It is not known who asks; `begins` if nothing was sent that would tell."""
    error = "" if begins else ', error="invalid_token"'
    return Refusal(Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": f'Bearer realm="ips"{error}'}))


def forbidden(code: str, detail: str, caller: str | None) -> Refusal:
    """It is known who asks, and that is not enough."""
    headers = {"WWW-Authenticate": 'Bearer realm="ips", error="insufficient_scope"'}
    return Refusal(Problem(403, code, detail, headers=headers), caller=caller)


def _verified(tokens: TokenVerifier, token: str) -> Claims:
    try:
        return tokens.verify(token)
    except InvalidCredentials as error:
        raise unauthenticated(str(error)) from error


def _caller(claims: Claims, roles: Roles, *, email_verified: bool) -> Caller:
    email = claims.get("email") if email_verified else None
    email = email if isinstance(email, str) and "@" in email else None
    name = email or claims.get("sub")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise unauthenticated("the token names nobody")
    role = roles.of(claims, email)
    if role is None:
        raise forbidden("not-permitted", "this caller is known, but may not use this service", name)
    return Caller(name=name, may_write=role is Role.WRITER)


def _single(headers: Headers, name: str) -> str | None:
    given = headers.getlist(name)
    if len(given) > 1:
        raise unauthenticated(f"{name} is there more than once")
    return given[0].strip() if given and given[0].strip() else None


def _bearer(headers: Headers, name: str) -> str | None:
    value = _single(headers, name)
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthenticated(f"{name} must be: Bearer, a space, the token")
    return token.strip()
