"""Ports of this machine: is one free, and which are."""

import errno
import secrets
import socket
from collections.abc import Iterator

from holdfast_cli.errors import CommandFailed

HOST = "127.0.0.1"  # `holdfast dev` is for one machine and has no passwords

# Below what Linux (32768) and others (49152) hand out to outgoing connections: while a crashed
# process is being started again, no client may be given the port that it comes back to.
_FIRST, _LAST = 20_000, 29_999


def refusal(port: int) -> str | None:
    """Return why nobody could listen on a port now, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier process that linger are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "is in use"
            return f"cannot be used ({error.strerror})"
    return None


def free_ports() -> Iterator[int]:
    """Yield ports that were free when looked at, none twice, beginning at a random one."""
    count = _LAST - _FIRST + 1
    start = secrets.randbelow(count)  # two runs side by side should not want the same ones
    for offset in range(count):
        port = _FIRST + (start + offset) % count
        if refusal(port) is None:
            yield port
    msg = f"No free port was found from {_FIRST} to {_LAST}."
    raise CommandFailed(msg)
