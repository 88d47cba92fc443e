"""Who is posted to next: fair among hosts, so that one that hangs delays only itself. Pure.

A host may have at most as many posts under way as are then free for the others. Alone it gets half
of them, with another one a third each; whoever comes new always finds some. What may not begin
waits, in a line of its host, bounded in bytes by the same rule. Hosts that wait take turns.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from holdfast_gateway.bridge.sharing import Shares

PATIENCE_SECONDS: Final = 1.0
"""A host that ends no post for so long is held up: what waits for it may keep no credits, which
others need. What waits for a host that is merely busy keeps them, so that the store waits too."""

OVERHEAD_BYTES: Final = 1_024
"""What a message that waits costs beside its body."""


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """A message to an HTTP address, on its way or waiting."""

    host: str
    address: str
    kind: str
    id: str
    body: bytes
    has_credit: bool
    """Whether the store has taken a credit for it, and not got it back."""
    cost: int = field(init=False)
    """The bytes that it costs to keep it."""

    def __post_init__(self) -> None:
        """Count once: what replaces the body has its length but for a digit or two."""
        self.cost = len(self.body) + OVERHEAD_BYTES

    @property
    def key(self) -> tuple[str, str, str]:
        """Say which messages are the same, of which the newest counts (§4.3)."""
        return self.kind, self.address, self.id


def host_of(address: str) -> str:
    """Name the server behind an address; one that has none is by itself."""
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return address
    return f"{parts.hostname}:{port}"


Line = OrderedDict[tuple[str, str, str], Message]
"""What waits for one host."""


class Turns:
    """Invariant: a message waits only while its host has as many under way as it may have."""

    def __init__(self, *, most: int, waiting_bytes_max: int) -> None:
        self._slots = Shares(most)
        self._room = Shares(waiting_bytes_max)
        self._lines: OrderedDict[str, Line] = OrderedDict()
        """What waits, by host; the host whose turn is next comes first."""
        self._moved_at: dict[str, float] = {}
        """When a host that is being posted to last began from nothing, or ended a post."""
        self.waiting = 0

    def begin(self, host: str, *, now: float) -> bool:
        """Answer whether a message to a host may begin at once; else it has to `wait`."""
        return host not in self._lines and self._begin(host, now=now)

    def wait(self, message: Message) -> Message | None:
        """Keep a message for later; answer the one that waits now, `None` if there is no room.

        One of the same key keeps its place, and says from now on what the newer one says.
        """
        host, key = message.host, message.key
        line = self._lines.get(host, Line())
        if key in line:
            line[key].body = message.body
            return line[key]
        if not self._room.take(host, message.cost):
            return None
        self._lines[host] = line
        line[key] = message
        self.waiting += 1
        return message

    def end(self, host: str, *, now: float) -> list[Message]:
        """Take note of a post that has ended; answer those that begin now."""
        self._slots.give(host)
        if self._slots.has(host):
            self._moved_at[host] = now
        else:
            del self._moved_at[host]
        return [self._next_of(each) for each in list(self._lines) if self._begin(each, now=now)]

    def is_held_up(self, host: str, *, now: float) -> bool:
        """Whether a host has ended no post for a while."""
        return now - self._moved_at.get(host, now) >= PATIENCE_SECONDS

    def held_up(self, *, now: float) -> list[Message]:
        """List what waits for hosts that are held up."""
        return [
            message
            for host, line in self._lines.items()
            if self.is_held_up(host, now=now)
            for message in line.values()
        ]

    def _begin(self, host: str, *, now: float) -> bool:
        is_first = not self._slots.has(host)
        if not self._slots.take(host):
            return False
        if is_first:
            self._moved_at[host] = now
        return True

    def _next_of(self, host: str) -> Message:
        """Let a message wait no longer; the others of its host do so behind those of others."""
        line = self._lines[host]
        _, message = line.popitem(last=False)
        if line:
            self._lines.move_to_end(host)
        else:
            del self._lines[host]
        self._room.give(host, message.cost)
        self.waiting -= 1
        return message
