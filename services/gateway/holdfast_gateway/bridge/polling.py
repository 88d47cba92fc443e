"""Clients that poll for messages, as members of the store (§4.5).

Each place, which is a group and an id, is one member that is offered tasks. Clients that share a
place stand in line: the first receives. So the store alone decides who gets what, on whichever
store and whichever gateway the clients are, and keeps what nobody is there for.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, Protocol

from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast_chassis.logs import get_logger
from holdfast_gateway.bridge import messages, metrics
from holdfast_gateway.bridge.sharing import Shares

WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of messages that clients have not taken, all together: settled promises may be large."""

NAME_CHARACTERS_MAX: Final = 100
"""Of an id, in the pid of its member: enough for a person who looks at the members."""

ServerUrl = Callable[[], str]
"""Tells the bridge's address, which may not be known before it is served."""

log = get_logger(__name__)


class MemberStore(Protocol):
    """One member's connection to the store."""

    async def start(self, member: Member, receiver: "_Place | Receiver") -> None:
        """Join; connecting goes on in the background."""

    def give_back(self, credits: int) -> None:
        """Return credits."""

    async def close(self) -> None:
        """Leave."""


class Receiver(Protocol):
    """Where a member of the bridge receives."""

    def on_task(self, push: TaskPush) -> None:
        """Never called: tasks are offered."""

    def on_offer(self, offer: TaskOffer) -> None:
        """Take note of a task."""

    def on_settled(self, promise: Promise) -> None:
        """Learn of a settled promise."""

    def on_connected(self) -> None:
        """Learn that the store is there."""

    def on_disconnected(self) -> None:
        """Learn that it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceName:
    """Where a client polls, and what it may be sent."""

    group: str
    id: str
    prefix: str = ""
    """Ids of what it is sent begin with it: its token says so."""


class Line:
    """One client's connection: what it has been sent and not yet taken."""

    def __init__(self, place: "_Place", *, buffer: int, room: Shares) -> None:
        self.place = place
        self._buffer = buffer
        self._room = room
        self._taken_bytes = 0
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._news = asyncio.Event()
        self.is_over = False

    def put(self, kind: str, message: bytes) -> bool:
        """Add a message; answer whether there was room for it."""
        if len(self._waiting) >= self._buffer or not self._room.take(self, len(message)):
            return False
        self._waiting.append((kind, message))
        self._news.set()
        return True

    def end(self) -> None:
        """Have the client go away."""
        self.is_over = True
        self._news.set()

    async def news(self) -> None:
        """Return when there is something to send, or the client has to go."""
        await self._news.wait()
        self._news.clear()

    def take(self) -> list[tuple[str, bytes]]:
        """Take everything that waits; tell `sent` when it has left."""
        taken = list(self._waiting)
        self._waiting.clear()
        self._taken_bytes += sum(len(message) for _, message in taken)
        return taken

    def sent(self, kinds: list[str]) -> None:
        """Learn that messages of these kinds have left."""
        self._gone(kinds, metrics.SUCCESS)

    def dropped(self, kinds: list[str]) -> None:
        """Learn that messages of these kinds are lost; tasks come back with their retry timers."""
        self._gone(kinds, metrics.DROPPED)

    def _gone(self, kinds: list[str], status: str) -> None:
        if self._taken_bytes:
            self._room.give(self, self._taken_bytes)
            self._taken_bytes = 0
        for kind in kinds:
            metrics.delivered(kind, status)
        self.place.give_back(kinds.count(messages.EXECUTE))


class _Place:
    """A place with at least one client, and its member."""

    def __init__(self, name: PlaceName, store: MemberStore, *, server_url: ServerUrl) -> None:
        self._store = store
        self._server_url = server_url
        self.name = name
        self.lines: list[Line] = []

    async def open(self, *, buffer: int) -> None:
        name = self.name
        await self._store.start(
            Member(
                # A pid of its own: the client's may be in use elsewhere, and would be replaced.
                pid=f"{name.id[:NAME_CHARACTERS_MAX]}#{token_hex(8)}",
                instance=token_hex(8),
                groups=(name.group,),
                credits=buffer,
                delivery_mode=DeliveryMode.OFFERED,
                name=name.id,
                prefix=name.prefix,
            ),
            self,
        )

    def give_back(self, credits: int) -> None:
        if credits:
            self._store.give_back(credits)

    async def close(self) -> None:
        await self._store.close()

    # Receiver

    def on_task(self, push: TaskPush) -> None:
        raise AssertionError(f"a member that is offered tasks was given one: {push.task.id}")

    def on_offer(self, offer: TaskOffer) -> None:
        message = messages.execute(offer, server_url=self._server_url())
        if not self._put(messages.EXECUTE, message):
            self.give_back(1)  # the retry timer brings it back

    def on_settled(self, promise: Promise) -> None:
        self._put(messages.UNBLOCK, messages.unblock(promise))

    def _put(self, kind: str, message: bytes) -> bool:
        if self.lines and self.lines[0].put(kind, message):
            return True
        metrics.delivered(kind, metrics.DROPPED)
        log.warning("message_dropped", kind=kind, group=self.name.group)
        return False

    def on_connected(self) -> None:
        pass

    def on_disconnected(self) -> None:
        pass


class Polls:
    """All clients that poll here.

    Invariant: a place is a member of the store from its first client to its last.
    """

    def __init__(
        self,
        open_store: Callable[[], MemberStore],
        *,
        server_url: ServerUrl,
        most: int,
        buffer: int,
    ) -> None:
        self._open_store = open_store
        self._server_url = server_url
        self._most = most
        self._buffer = buffer
        self._room = Shares(WAITING_BYTES_MAX)
        self._places: dict[PlaceName, _Place] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._count = 0
        self._closing = False

    @property
    def has_room(self) -> bool:
        """Whether one more client may poll."""
        return self._count < self._most and not self._closing

    async def join(self, name: PlaceName) -> Line:
        """Put a client in line; it must leave in the end."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = _Place(
                name, self._open_store(), server_url=self._server_url
            )
            line = self._line_up(place)
            await place.open(buffer=self._buffer)
            return line
        return self._line_up(place)

    def _line_up(self, place: _Place) -> Line:
        line = Line(place, buffer=self._buffer, room=self._room)
        place.lines.append(line)
        self._count += 1
        metrics.poll_connections.set(self._count)
        return line

    def leave(self, name: PlaceName, line: Line) -> None:
        """Let a client go: what it has not taken goes to the next in line."""
        place = line.place
        place.lines.remove(line)
        self._count -= 1
        metrics.poll_connections.set(self._count)
        left = line.take()
        if not place.lines and self._places.get(name) is place:
            # At once: until the store knows of it, it offers tasks to nobody.
            del self._places[name]
            self._later(place.close())
        lost = [
            kind
            for kind, message in left
            if not (place.lines and place.lines[0].put(kind, message))
        ]
        line.dropped(lost)

    def _later(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run(), name="place-close")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def end_all(self) -> None:
        """Send all clients away; more are not let in."""
        self._closing = True
        for place in self._places.values():
            for line in place.lines:
                line.end()

    async def close(self) -> None:
        """Leave the store at every place."""
        self.end_all()
        places, self._places = list(self._places.values()), {}
        await asyncio.gather(*(place.close() for place in places), *self._leaving)
