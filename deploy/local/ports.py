"""Ports on this machine for the parts of a stack."""

import random
import socket

from deploy.local.errors import StackError

HOST = "127.0.0.1"

# Below the range from which the kernel takes ports for outgoing connections, so that a part that is started again finds
# its port still free.
_FREE_RANGE = range(20000, 32000)
_TRIES = 200


class Ports:
    """Ports held for one stack, so that two stacks started at the same moment never choose the same one."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []
        self._given: set[int] = set()

    def free(self) -> int:
        """Choose a port that nobody uses and hold it until `release`.

        Raises:
            StackError: No port is free.
        """
        for port in random.sample(_FREE_RANGE, _TRIES):
            if port in self._given:
                continue
            holder = socket.socket()
            try:
                holder.bind((HOST, port))
            except OSError:
                holder.close()
                continue
            # Bound but not listening, and from now on shared: the part itself can bind the port and listen, while
            # another stack's plain bind above is refused.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.append(holder)
            return port
        raise StackError(f"no free port found from {_FREE_RANGE.start} to {_FREE_RANGE.stop}; stop what uses them")

    def check(self, port: int, variable: str) -> None:
        """Make sure that the port which the user asked for through `variable` can be used.

        Raises:
            StackError: Something listens on it already, or the system refuses it.
        """
        self._given.add(port)
        with socket.socket() as probe:
            # Connections of an earlier run that linger after their close do not keep a server from starting.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except PermissionError as error:
                raise StackError(f"port {port} ({variable}) needs more rights; choose one above 1023") from error
            except OSError as error:
                raise StackError(
                    f"port {port} ({variable}) is already in use; stop what listens there or set {variable} to another"
                ) from error

    def release(self) -> None:
        """Give every held port back."""
        for holder in self._held:
            holder.close()
        self._held.clear()
