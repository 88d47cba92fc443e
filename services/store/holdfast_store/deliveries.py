"""Settled promises that waited in the database for a member: taken when it is here, and sent.

At most once (§4.3): taking deletes. What is taken is bounded per turn, however much waits, and a
turn follows the one before until nothing is left.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from holdfast.core.records import Promise
from holdfast_chassis.logs import get_logger
from holdfast_store.members import Members
from holdfast_store.observer import Observer
from holdfast_store.runner import call
from holdfast_store.storage import Storage, StorageError

log = get_logger(__name__)

ADDRESSES_MAX: Final = 500
"""Addresses that one statement asks for."""

MESSAGES_MAX: Final = 256
BYTES_MAX: Final = 4 * 1_048_576
"""Messages, and payloads of their promises, that are taken at once."""

RETRY_PAUSE_S: Final = 1.0
"""Pause before a database that failed is asked again."""

SCHEMES: Final = ("http", "https")
"""Of the addresses that members of the group of HTTP addresses send on to."""

NAMED_PAUSE_S: Final = 1.0
"""How long a message to any member waits for the one that its address prefers, which another store
may have; then whoever is here gets it."""


class Deliveries:
    """Takes messages for addresses, one turn after the other.

    Invariant: an address that was asked for is looked at after that, if somebody sits there still.
    """

    def __init__(
        self,
        storage: Storage,
        members: Members,
        *,
        observer: Observer,
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        """Put it together; `later` calls back after so many seconds."""
        self._storage = storage
        self._members = members
        self._observer = observer
        self._later = later
        self._wanted: dict[str, None] = {}
        self._unlisted: dict[str, str] = {}
        """Schemes whose waiting addresses are to be found, and behind which address."""
        self._preferred_elsewhere: set[str] = set()
        self._is_resting = False
        self.working: asyncio.Task[None] | None = None

    def want(self, addresses: Iterable[str]) -> None:
        """Take what waits for these addresses, whoever receives it here."""
        self._wanted.update(dict.fromkeys(addresses))
        if self._is_resting or not (self._wanted or self._unlisted):
            return
        if self.working is None or self.working.done():
            self.working = asyncio.create_task(self._work(), name="deliveries")

    def want_pushes(self) -> None:
        """Take what waits for any HTTP address: somebody has come who sends it on."""
        self._unlisted = dict.fromkeys(SCHEMES, "")
        self.want(())

    def hear(self, addresses: Iterable[str]) -> None:
        """Learn that messages wait for addresses, which a member of another store may prefer."""
        now = []
        for address in addresses:
            if self._members.seat_at(address, named=True) is not None:
                now.append(address)
            elif self._members.seat_at(address) is not None:
                self._wait_for_named(address)
        self.want(now)

    def _wait_for_named(self, address: str) -> None:
        if not self._preferred_elsewhere:
            self._later(NAMED_PAUSE_S, self._stop_waiting)
        self._preferred_elsewhere.add(address)

    def _stop_waiting(self) -> None:
        addresses, self._preferred_elsewhere = self._preferred_elsewhere, set()
        self.want(addresses)

    async def _work(self) -> None:
        while self._wanted or self._unlisted:
            turn = [*self._wanted][:ADDRESSES_MAX]
            for address in turn:
                del self._wanted[address]
            seated = self._seated(turn)
            reached = {address for addresses in seated.values() for address in addresses}
            try:
                if not turn:
                    await self._list()
                found = [await self._pass_on(*each) for each in seated.items()]
            except StorageError as error:
                log.warning("unblocks_not_taken", error=str(error))
                self._wanted.update(dict.fromkeys(reached))
                self._is_resting = True
                self._later(RETRY_PAUSE_S, self._end_rest)
                return
            if any(found):
                self._wanted.update(dict.fromkeys(reached))

    def _seated(self, addresses: Iterable[str]) -> dict[str, list[str]]:
        """Sort addresses by what ids begin with of which their members may be told.

        What nobody here may have is left where it is, for whoever comes.
        """
        seated: dict[str, list[str]] = {}
        for address in addresses:
            for prefix in self._members.prefixes_at(address):
                seated.setdefault(prefix, []).append(address)
        return seated

    async def _pass_on(self, prefix: str, addresses: list[str]) -> bool:
        """Take what waits, and send it at once; answer whether there was any."""
        found = await self._storage.take_unblocks(
            addresses, limit=MESSAGES_MAX, bytes_max=BYTES_MAX, prefix=prefix
        )
        self._send(found)
        return bool(found)

    async def _list(self) -> None:
        """Find more addresses of those that are not known by name."""
        unlisted = self._unlisted
        scheme, behind = next(iter(unlisted.items()))
        found = await self._storage.unblock_addresses(scheme, behind=behind, limit=ADDRESSES_MAX)
        self._wanted.update(dict.fromkeys(found))
        # Whoever has come meanwhile wants all of them, and put another list in the place of this.
        if len(found) < ADDRESSES_MAX:
            del unlisted[scheme]
        else:
            unlisted[scheme] = found[-1]

    def _end_rest(self) -> None:
        self._is_resting = False
        self.want(())

    def _send(self, found: Iterable[tuple[str, Promise]]) -> None:
        sent: set[tuple[str, str]] = set()
        for address, promise in found:
            seat = self._members.seat_at(address, about=promise.id)
            self._observer.message_claimed(kind="unblock")
            if seat is None:  # it left this moment; whoever waits there registers again
                self._observer.delivered(status="dropped")
                continue
            if (relay := seat.relay) is not None:
                call(partial(relay.push_unblock, address), promise)
            elif (seat.id, promise.id) not in sent:
                sent.add((seat.id, promise.id))
                call(seat.inbox.push_settled, promise)
                self._observer.delivered(status="success")
