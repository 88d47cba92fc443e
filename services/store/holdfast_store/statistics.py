"""Queue statistics: what waits and runs per group, joined with who could take it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from holdfast_store.members import Members
from holdfast_store.storage import QueueCounts, Storage

REFRESH_S = 1.0
"""Shortest span between two reads of the database, however often somebody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The state of one group's work."""

    group: str
    due: int
    running: int
    suspended: int
    halted: int
    oldest_due_age_ms: int
    members: int
    free_credits: int


class Statistics:
    """Answers queue statistics from counts that are at most `REFRESH_S` old."""

    def __init__(self, storage: Storage, members: Members, *, clock: Callable[[], int]) -> None:
        self._storage = storage
        self._members = members
        self._clock = clock
        self._counts: dict[str, QueueCounts] = {}
        self._read_at: float | None = None
        self._dirty = asyncio.Event()
        self._reading = asyncio.Lock()

    def invalidate(self) -> None:
        """Learn that the numbers may have changed."""
        self._dirty.set()

    async def changed(self) -> None:
        """Return when the numbers may differ from what was read last."""
        await self._dirty.wait()

    async def queues(self, groups: Sequence[str] = ()) -> Sequence[Queue]:
        """Statistics of the named groups, zeros included, or of all that have work or workers."""
        async with self._reading:
            if self._read_at is None or monotonic() - self._read_at >= REFRESH_S:
                self._dirty.clear()
                counts = await self._storage.queue_counts(now_ms=self._clock())
                self._counts = {c.group: c for c in counts}
                self._read_at = monotonic()
        names = groups or sorted(self._counts.keys() | self._members.groups())
        return [self._queue(name) for name in sorted(set(names))]

    def _queue(self, group: str) -> Queue:
        counts = self._counts.get(group) or QueueCounts(group=group)
        oldest = counts.oldest_due_at_ms
        return Queue(
            group=group,
            due=counts.due,
            running=counts.running,
            suspended=counts.suspended,
            halted=counts.halted,
            oldest_due_age_ms=0 if oldest is None else max(0, self._clock() - oldest),
            members=self._members.workers(group),
            free_credits=self._members.free_credits(group),
        )
