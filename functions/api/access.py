"""From the configured way of telling callers apart to the function that does it."""

from functions.api.callers import Authenticate, anyone, by_api_key, by_cloud_run, by_iap, by_token
from ips_common.config import Settings
from ips_common.wiring import auth


def authenticator(settings: Settings) -> Authenticate:
    """Return what `IPS_AUTH` asks for."""
    match settings.auth:
        case "none":
            return anyone
        case "api-key":
            return by_api_key(auth.api_keys())
        case "oidc":
            return by_token(auth.oidc_tokens(), auth.roles())
        case "iam" if settings.iap_audience:
            return by_iap(auth.iap_assertions(), auth.roles())
        case "iam":
            return by_cloud_run(auth.roles())
