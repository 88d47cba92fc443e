"""Which hosts messages may be pushed to. Pure.

Anybody who may create a promise names the address that is posted to, from inside the network of
the gateway. So an operator can say where that may lead; what counts is each address that a name
stands for at the moment of connecting.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Rules:
    """Hosts by name and by network.

    Not a dataclass: the framework looks into those of the settings, and knows no such networks.
    """

    __slots__ = ("names", "networks")

    def __init__(self, names: tuple[str, ...] = (), networks: tuple[Network, ...] = ()) -> None:
        self.names = names
        self.networks = networks

    def __bool__(self) -> bool:
        """Whether anything is named."""
        return bool(self.names or self.networks)

    def __str__(self) -> str:
        """Write it as it is read."""
        return ",".join((*self.names, *map(str, self.networks)))

    def name_fits(self, host: str) -> bool:
        """Whether a host is named."""
        plain = host.lower().rstrip(".")
        return any(_fits(plain, name) for name in self.names)

    def address_fits(self, address: IpAddress) -> bool:
        """Whether an address is in one of the networks."""
        return any(address in network for network in self.networks)


def parse_rules(value: str) -> Rules:
    """Read `example.com,*.internal,10.0.0.0/8`; raise `ValueError` for what is neither."""
    names: list[str] = []
    networks: list[Network] = []
    for word in filter(None, map(str.strip, value.split(","))):
        try:
            networks.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            if "/" in word or ":" in word or not word.removeprefix("*."):
                msg = (
                    "must be names, names behind *. and networks such as 10.0.0.0/8, with commas"
                    f" between: {word!r} is none of them"
                )
                raise ValueError(msg) from None
            names.append(word.lower())
    return Rules(tuple(names), tuple(networks))


def flaw_of_target(host: str, addresses: Iterable[str], *, allow: Rules, deny: Rules) -> str | None:
    """Say why no message may be sent to a host that stands for these addresses, or `None`."""
    if deny.name_fits(host):
        return f"{host} is denied by its name"
    named = allow.name_fits(host)
    for text in addresses:
        address = ipaddress.ip_address(text)
        if any(map(deny.address_fits, _destinations(address))):
            return f"{host} stands for {text}, which is denied"
        if allow and not named and not allow.address_fits(_plain(address)):
            return f"{host} stands for {text}, which is not allowed"
    return None


def _fits(host: str, name: str) -> bool:
    if name.startswith("*."):
        return host.endswith(name[1:])
    return host == name.rstrip(".")


def _destinations(address: IpAddress) -> Iterable[IpAddress]:
    """List every address where a connection may end that is made to this one."""
    plain = _plain(address)
    found = {address, plain}
    if isinstance(plain, ipaddress.IPv6Address):
        carried = [plain.sixtofour] if plain.sixtofour else []
        if any(plain in network for network in _TRANSLATED):
            carried.append(ipaddress.IPv4Address(int(plain) & 0xFFFF_FFFF))
        found.update(carried)
    if any(each.is_unspecified for each in found):
        found.update(_HERE)  # the kernel takes it for this machine
    return found


_TRANSLATED: Final = tuple(
    map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
)
"""Networks whose addresses end in an IPv4 address, to which a router may lead them."""
_HERE: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


def _plain(address: IpAddress) -> IpAddress:
    """Take an IPv4 address out of the IPv6 one that stands for it."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
