"""Which addresses webhooks may lead to."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ips_common.webhook.address import AddressRules, is_public

HOSTILE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::200e",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_no_socket_to_what_is_not_the_public_internet(address: str) -> None:
    assert not AddressRules().allows(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_may_be_called(address: str) -> None:
    assert AddressRules().allows(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "1.1.1.1/32", "1.1.1.1 "])
def test_what_is_no_address_is_not_allowed(text: str) -> None:
    assert not AddressRules().allows(text)


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_knows_as_special(address: object) -> None:
    parsed = ip_address(str(address))
    if parsed.is_private or parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_reserved:
        assert not is_public(parsed)


def test_the_operator_may_allow_networks_and_no_more_than_these() -> None:
    rules = AddressRules(networks=[ip_network("10.1.0.0/16"), ip_network("fd12::/32")])
    assert rules.allows("10.1.2.3")
    assert rules.allows("fd12::1")
    assert not rules.allows("10.2.0.1")
    assert not rules.allows("::ffff:10.1.2.3")
    assert not rules.allows("127.0.0.1")


def test_the_operator_may_name_hosts() -> None:
    rules = AddressRules(hosts=["Receiver.Internal.", "10.0.0.7", "[::1]"])
    for host in ("receiver.internal", "RECEIVER.internal.", "10.0.0.7", "::1"):
        assert rules.trusts(host)
    for host in ("other.internal", "x.receiver.internal", "10.0.0.8", ""):
        assert not rules.trusts(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1.", "[::1]", "[::ffff:127.0.0.1]", "[fd00:ec2::254]"])
def test_a_url_that_spells_out_a_forbidden_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="private, local or reserved"):
        AddressRules().check(f"http://{host}:8080/hook")


def test_a_url_is_checked_by_the_operators_rules_too() -> None:
    AddressRules().check("https://8.8.8.8/")
    AddressRules().check("https://whatever.example/")
    AddressRules(networks=[ip_network("10.0.0.0/8")]).check("https://10.0.0.1/")
    AddressRules(hosts=["::1"]).check("https://[::1]/")
