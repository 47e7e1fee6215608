"""Where a webhook may lead.

A caller chooses the URL, IPS makes the request: without rules a caller could reach whatever IPS can, above all the
metadata server that hands out its credentials. So only the public internet may be called, and what the operator allows.

The tables follow IANA's registries of special-purpose addresses; Python's own `is_global` differs between versions.
https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from ips_common.models.webhook import literal_address

Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host: Linux takes it for loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata server
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's agent: public by its number only
        "169.254.0.0/16",  # link-local: the metadata servers of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata server
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
"""All that is assigned for the public; outside lie loopback, link-local, private, IPv4-mapped and NAT64 addresses."""

_NOT_PUBLIC_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo leads to any IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4: the same
        "3fff::/20",
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


class AddressRules:
    """What webhooks may call: the public internet, and hosts and networks that the operator names."""

    def __init__(self, hosts: Iterable[str] = (), networks: Iterable[Network] = ()) -> None:
        """Make rules.

        Args:
            hosts: names, or addresses as a URL spells them, that may be called wherever they lead.
            networks: addresses that may be called though they are not public.
        """
        self._hosts = frozenset(_plain(host) for host in hosts)
        self._networks = tuple(networks)

    def trusts(self, host: str) -> bool:
        """Whether the operator named this host of a URL."""
        return _plain(host) in self._hosts

    def allows(self, address: str) -> bool:
        """Whether a socket may be connected to this numeric address."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return is_public(parsed) or any(parsed in network for network in self._networks)

    def check(self, url: str) -> None:
        """Check what can be told of a URL without asking DNS; names are checked when they are called.

        Raises:
            ValueError: its host is an address that may not be called.
        """
        host = urlsplit(url).hostname or ""
        address = literal_address(host)
        if address and not self.trusts(host) and not self.allows(str(address)):
            raise ValueError("must not lead to a private, local or reserved address")


def _plain(host: str) -> str:
    return host.lower().strip("[]").removesuffix(".")
