import socket

import pytest

from deploy.local.errors import StackError
from deploy.local.ports import HOST, Ports


def test_two_stacks_never_get_the_same_port() -> None:
    one, other = Ports(), Ports()
    try:
        chosen = [ports.free() for _ in range(100) for ports in (one, other)]
    finally:
        one.release()
        other.release()
    assert len(set(chosen)) == 200


def test_a_held_port_can_be_listened_on_by_its_part() -> None:
    ports = Ports()
    try:
        port = ports.free()
        with socket.create_server((HOST, port)), socket.create_connection((HOST, port)):
            pass
    finally:
        ports.release()


def test_a_given_port_in_use_is_refused_and_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {port} \(IPS_API_PORT\) is already in use"):
            Ports().check(port, "IPS_API_PORT")
    Ports().check(port, "IPS_API_PORT")
