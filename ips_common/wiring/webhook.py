"""Calling webhooks over HTTP."""

from functools import cache

from ips_common.ports.webhook import Courier
from ips_common.webhook.address import AddressRules
from ips_common.webhook.http import HttpCourier
from ips_common.wiring.configuration import configure


@cache
def courier() -> Courier:
    """Return the courier."""
    config = configure()
    rules = AddressRules(config.webhook_allowed_hosts, config.webhook_allowed_networks)
    return HttpCourier(rules, [secret.get_secret_value() for secret in config.webhook_secrets])
