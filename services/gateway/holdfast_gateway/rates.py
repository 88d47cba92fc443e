"""How many requests one client may send: a bucket of tokens for each, which fills up steadily.

The framework has a limit too; it counts each route by itself, keeps the instant of every request,
and writes them under one lock. This one keeps one number for each client.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

CLIENTS_MAX: Final = 100_000
"""Beyond it the client that was seen longest ago is forgotten, as if its bucket were full."""
IPV6_PREFIX: Final = 64  # what one customer is given: all of its addresses are one client
FORWARDED_FOR: Final = b"x-forwarded-for"
NOBODY: Final = "unknown"

Network = IPv4Network | IPv6Network


class Rates:
    """Each client may send `burst` requests at once and `per_second` in the long run."""

    def __init__(self, *, per_second: float, burst: int, clients_max: int = CLIENTS_MAX) -> None:
        self._interval = 1 / per_second
        self._slack = self._interval * (burst - 1)
        self._clients_max = clients_max
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When the bucket of each client will be full again."""

    def take(self, client: str, *, now: float) -> float:
        """Take a token, and return 0; or take none, and return the seconds until there is one."""
        full_at = max(self._full_at.get(client, now), now)
        missing = full_at - now - self._slack
        if missing > 0:
            return missing
        self._full_at[client] = full_at + self._interval
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._clients_max:
            self._full_at.popitem(last=False)
        return 0


def parse_networks(text: str) -> tuple[str, ...]:
    """Read addresses and networks with commas between; raise ValueError for what is none."""
    try:
        return tuple(str(ip_network(each.strip())) for each in text.split(",") if each.strip())
    except ValueError as error:
        msg = "must be addresses or networks with commas between, such as 10.0.0.0/8"
        raise ValueError(msg) from error


def client_of(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]
) -> str:
    """Return the address that a request comes from, by which clients are told apart.

    Whoever connects may write anything into X-Forwarded-For. Each proxy appends the address of its
    own peer, so the list is read from its end, and only as far as those who wrote it are trusted.
    """
    if peer is None:
        return NOBODY
    hops = [
        hop.strip()
        for name, value in headers
        if name == FORWARDED_FOR
        for hop in value.decode("latin-1").split(",")
    ]
    client = peer
    while hops and _is_within(client, trusted):
        client = hops.pop()
    return _grouped(client)


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def _grouped(address: str) -> str:
    """Write an address in one way; what is none, as a proxy may write, stays a name as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))
    return str(parsed)
