"""What tells callers apart."""

from functools import cache

from ips_common.auth.api_key import ApiKey, ApiKeys
from ips_common.auth.issuer import Issuer
from ips_common.auth.token import TokenVerifier
from ips_common.models.access import Roles
from ips_common.wiring.configuration import configure

IAP_ISSUER = "https://cloud.google.com/iap"
_IAP_KEYS = "https://www.gstatic.com/iap/verify/public_key-jwk"


@cache
def api_keys() -> ApiKeys:
    """Return the known API keys."""
    return ApiKeys(ApiKey(name, each.role, each.hash) for name, each in configure().api_keys.items())


@cache
def oidc_tokens() -> TokenVerifier:
    """Return the verifier of ID tokens; the issuer is not contacted before the first one comes."""
    config = configure()
    issuer = config.oidc_issuer or ""
    return TokenVerifier(issuer, config.oidc_audience, Issuer(issuer))


@cache
def iap_assertions() -> TokenVerifier:
    """Return the verifier of what Identity-Aware Proxy says of callers."""
    return TokenVerifier(IAP_ISSUER, configure().iap_audience, Issuer(IAP_ISSUER, _IAP_KEYS))


@cache
def roles() -> Roles:
    """Return who may do what.

    Behind Google's front end, whom IAM lets in may write unless there are lists.
    """
    config = configure()
    if config.auth == "iam" and not config.writers and not config.readers:
        return Roles(["*"], [])
    return Roles(config.writers, config.readers)
