"""The way to a store: of all processes behind a URL, one that answers and is ready.

Each attempt takes the addresses in an order of its own, so that clients spread over replicas, and
those of a replica that goes away spread over all others. Silence costs little: while one address
does not answer the next one is tried beside it.
"""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import grpc

from holdfast.errors import ServerUnavailable
from holdfast.rpc.access import Access
from holdfast.rpc.endpoints import Address, Endpoint, is_address, is_proxied
from holdfast.rpc.errors import error_of_call

DIAL_S_MAX: Final = 5.0
"""For one search through all addresses."""

STAGGER_S: Final = 0.5
"""How long one address may be silent before the next one is tried beside it. The kernel repeats a
lost first packet after a whole second, and one to a machine that is gone is lost for ever."""

LOOKUP_S_MAX: Final = 2.0
"""How long a name server may take before the addresses of the last time are tried."""

CHECK: Final = "/grpc.health.v1.Health/Check"
NOT_SERVING: Final = b"\x08\x02"  # HealthCheckResponse(status=NOT_SERVING)

# A refusal by the peer itself, such as one for a missing token, proves that somebody is there. The
# stream then learns of it in its own right.
_NOBODY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A connection to one process; whoever has it closes it."""

    address: Address
    channel: grpc.aio.Channel
    is_serving: bool
    """Whether the process says that it is ready for work."""


class Dialer:
    """Finds a store behind a URL, again and again; names are looked up each time."""

    def __init__(self, endpoints: Sequence[Endpoint], *, access: Access) -> None:
        self._endpoints = endpoints
        self._access = access
        self._known: dict[Endpoint, tuple[Address, ...]] = {}
        self._lookups: dict[Endpoint, asyncio.Task[tuple[Address, ...]]] = {}

    async def dial(self, *, after: Address | None = None) -> Line:
        """Connect to any store, to `after` only if no other one answers.

        A store that says it is not ready is better than none: it keeps who comes to it, and serves
        when its database is back. Raises `ServerUnavailable` when nobody answers.
        """
        addresses = await self.addresses()
        random.shuffle(addresses)
        addresses.sort(key=lambda address: address == after)
        return await self._race(addresses)

    async def move(self, current: Address) -> Line | None:
        """Connect to a store drawn from all of them, unless it is the current one or not ready.

        Members that do this now and then are spread evenly again some time after a store was
        started anew, to which nobody had a reason to come.
        """
        try:
            drawn = random.choice(await self.addresses())  # noqa: S311 - spreads load
            if drawn == current:
                return None
            line = await self._race([drawn])
        except ServerUnavailable:
            return None  # the present one is as good
        if not line.is_serving:
            await line.channel.close()
            return None
        return line

    @property
    def known(self) -> int:
        """How many addresses there were at the last look."""
        return sum(map(len, self._known.values()))

    # Names

    async def addresses(self) -> list[Address]:
        """Find every address behind the URL; raise `ServerUnavailable` if there is none."""
        looked = await asyncio.gather(*map(self._lookup, self._endpoints), return_exceptions=True)
        found: list[Address] = []
        failures: list[ServerUnavailable] = []
        for endpoint, result in zip(self._endpoints, looked, strict=True):
            if isinstance(result, tuple):
                self._known[endpoint] = result
            elif isinstance(result, ServerUnavailable):
                failures.append(result)
            elif isinstance(result, BaseException):
                raise result
            found += self._known.get(endpoint, ())
        if not found:
            raise failures[0]
        return list(dict.fromkeys(found))

    async def _lookup(self, endpoint: Endpoint) -> tuple[Address, ...]:
        # One that hangs keeps a thread: it is waited for again instead of asked again beside it.
        lookup = self._lookups.get(endpoint)
        if lookup is None:
            lookup = self._lookups[endpoint] = asyncio.create_task(_resolve(endpoint))
            lookup.add_done_callback(lambda _: self._lookups.pop(endpoint, None))
        try:
            async with asyncio.timeout(LOOKUP_S_MAX):
                return await asyncio.shield(lookup)
        except TimeoutError as error:
            message = f"no name server answered within {LOOKUP_S_MAX:.0f} s for {endpoint}"
            raise ServerUnavailable(message) from error

    # Connections

    def line_to(self, address: Address) -> Line:
        """Answer a line that connects when it is used."""
        return Line(address=address, channel=address.channel(self._access), is_serving=True)

    async def _race(self, addresses: Sequence[Address]) -> Line:
        """Answer the first line to a store that is ready."""
        race = _Race(self._access)
        try:
            return await race.run(addresses)
        finally:
            await race.close()


class _Race:
    """Attempts at several addresses, begun one after the other, perhaps under way together."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._trying: dict[asyncio.Task[Line], Address] = {}
        self._spare: list[Line] = []
        self._failures: dict[str, ServerUnavailable] = {}

    async def run(self, addresses: Sequence[Address]) -> Line:
        """Try until one is ready, all have failed, or time is over."""
        untried = deque(addresses)
        again = cycle(addresses)
        give_up_at = asyncio.get_running_loop().time() + DIAL_S_MAX
        while untried or self._trying:
            if untried:
                self._try(untried.popleft())
            done, _ = await asyncio.wait(
                self._trying, timeout=STAGGER_S, return_when=asyncio.FIRST_COMPLETED
            )
            if (line := self._judge(done)) is not None:
                return line
            if not done and not untried:
                if self._spare or asyncio.get_running_loop().time() >= give_up_at:
                    break
                # A silent one again, by another connection: the first may be on its way to a
                # machine that is gone, while a virtual address stands for another one by now.
                untried.append(next(each for each in again if each in self._trying.values()))
        if self._spare:
            return self._spare.pop()
        raise self._failure()

    def _try(self, address: Address) -> None:
        task = asyncio.create_task(_connect(address, self._access), name="store-dial")
        self._trying[task] = address

    def _judge(self, done: Iterable[asyncio.Task[Line]]) -> Line | None:
        ready: list[Line] = []
        for task in done:
            address = self._trying.pop(task)
            error = task.exception()
            if isinstance(error, ServerUnavailable):
                self._failures[str(address)] = error
            elif error is not None:
                raise error
            else:
                line = task.result()
                (ready if line.is_serving else self._spare).append(line)
        if not ready:
            return None
        self._spare += ready[1:]
        return ready[0]

    def _failure(self) -> ServerUnavailable:
        """Say the same in the same situation, in whatever order the addresses were tried."""
        for address in map(str, self._trying.values()):
            message = f"the store at {address} did not answer within {DIAL_S_MAX:.0f} s"
            self._failures.setdefault(address, ServerUnavailable(message))
        first = self._failures[min(self._failures)]
        others = len(self._failures) - 1
        if not others:
            return first
        return ServerUnavailable(f"{first.message} (nor do {others} others answer)")

    async def close(self) -> None:
        """Leave nothing behind but the line that was answered."""
        for task in self._trying:
            task.cancel()
        ended = await asyncio.gather(*self._trying, return_exceptions=True)
        late = [line for line in ended if isinstance(line, Line)]
        for line in (*self._spare, *late):
            await line.channel.close()


async def _connect(address: Address, access: Access) -> Line:
    """Open a connection, and ask at its other end whether work may be sent there."""
    metadata = access.metadata()
    channel = address.channel(access)
    check: Any = channel.unary_unary(CHECK)  # bytes both ways, for which there are no types
    try:
        answer = await check(b"", timeout=DIAL_S_MAX, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        if error.code() in _NOBODY:
            await channel.close()
            raise _unavailable(error, address) from error
        return Line(address=address, channel=channel, is_serving=True)
    except BaseException:
        await channel.close()
        raise
    return Line(address=address, channel=channel, is_serving=answer != NOT_SERVING)


def _unavailable(error: grpc.aio.AioRpcError, address: Address) -> ServerUnavailable:
    found = error_of_call(error, where=str(address))
    assert isinstance(found, ServerUnavailable), "so the codes in _NOBODY are read"
    return found


async def _resolve(endpoint: Endpoint) -> tuple[Address, ...]:
    """Look a name up; an address is its own answer, and a proxy looks up by itself."""
    if is_proxied(endpoint.host):
        return (Address(endpoint=endpoint, ip=None),)
    if is_address(endpoint.host):
        return (Address(endpoint=endpoint, ip=endpoint.host),)
    try:
        ips = await look_up(endpoint.host, endpoint.port)
    except (OSError, UnicodeError) as error:  # a label of a name has 63 characters at most
        reason = (isinstance(error, OSError) and error.strerror) or error
        message = f"the address of the store at {endpoint} cannot be looked up: {reason}"
        raise ServerUnavailable(message) from error
    return tuple(Address(endpoint=endpoint, ip=ip) for ip in ips)


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system for every address behind a name; raises `OSError` or `UnicodeError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
