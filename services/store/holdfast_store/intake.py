"""Chains that wait for their transaction: bounded, and served in turn of who sent them.

Whoever has fifty thousand operations waiting delays another's by one chain of each batch, not by
all of them; and one sender alone can fill half of the room, so that the door stays open to others.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.requests import Refusal
from holdfast_store.batches import Entry

ANYBODY: Final = "anybody"
"""The sender of calls that come one by one: nobody knows which of them belong together."""


@dataclass(slots=True)
class _Line:
    """What one sender has waiting; or, with nobody's entries, what all of them have."""

    entries: deque[Entry] = field(default_factory=deque)
    operations: int = 0
    size: int = 0

    def add(self, entry: Entry, sign: int = 1) -> None:
        """Count an entry that comes, or with -1 one that goes."""
        self.operations += sign * len(entry.chain)
        self.size += sign * entry.size

    def has_room(self, operations: int, size: int, *, operations_max: int, bytes_max: int) -> bool:
        """Tell whether a chain fits; whatever its size, it fits where nothing waits."""
        if self.operations + operations > operations_max:
            return False
        return not self.operations or self.size + size <= bytes_max


_NOTHING: Final = _Line()
"""The line of whoever has none; nothing is ever put into it."""


class Intake:
    """The lines of all senders.

    Invariant: a sender is in the circle exactly while it has a line, which is never empty; each
    sender's chains come out in the order in which they were put in.
    """

    def __init__(self, *, operations_max: int, bytes_max: int) -> None:
        self._operations_max = operations_max
        self._bytes_max = bytes_max
        self._operations_max_of_one = _half(operations_max)
        self._bytes_max_of_one = _half(bytes_max)
        self._all = _Line()
        self._lines: dict[Hashable, _Line] = {}
        self._circle: deque[Hashable] = deque()

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._circle)

    def has(self, sender: Hashable) -> bool:
        """Whether chains of a sender wait."""
        return sender in self._lines

    def refusal(self, sender: Hashable, *, operations: int, size: int) -> Refusal | None:
        """Say why there is no room for a chain, if there is none."""
        line = self._lines.get(sender, _NOTHING)
        if sender is not ANYBODY and not line.has_room(
            operations,
            size,
            operations_max=self._operations_max_of_one,
            bytes_max=self._bytes_max_of_one,
        ):
            return _full("the stream's share of the store's queue is full")
        if not self._all.has_room(
            operations, size, operations_max=self._operations_max, bytes_max=self._bytes_max
        ):
            return _full("the store's queue is full")
        return None

    def put(self, sender: Hashable, entry: Entry) -> None:
        """Add a chain for which there is room."""
        line = self._lines.get(sender)
        if line is None:
            line = self._lines[sender] = _Line()
            self._circle.append(sender)
        line.entries.append(entry)
        line.add(entry)
        self._all.add(entry)

    def take(self, *, operations_max: int, bytes_max: int) -> list[Entry]:
        """Take chains, one of each sender in turn, until a bound is reached or passed."""
        taken: list[Entry] = []
        operations = size = 0
        circle, lines = self._circle, self._lines
        while circle and operations < operations_max and size < bytes_max:
            sender = circle.popleft()
            line = lines[sender]
            entry = line.entries.popleft()
            line.add(entry, -1)
            if line.entries:
                circle.append(sender)
            else:
                del lines[sender]
            operations += len(entry.chain)
            size += entry.size
            taken.append(entry)
        self._all.operations -= operations
        self._all.size -= size
        return taken

    def empty(self) -> list[Entry]:
        """Take everything."""
        return self.take(operations_max=self._all.operations + 1, bytes_max=self._all.size + 1)


def _half(bound: int) -> int:
    return (bound + 1) // 2


def _full(what: str) -> Refusal:
    return Refusal(status=429, code="overloaded", message=f"{what}; send again after a pause")
