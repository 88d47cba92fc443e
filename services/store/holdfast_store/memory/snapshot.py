"""Everything that is in memory at one moment: records are frozen, so keeping them is enough."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final, TypeVar

from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast_store.archives.port import Chunk, Listener

R = TypeVar("R")

CHUNK_ROWS: Final = 500

_by_id: Final = attrgetter("id")


class MemorySnapshot:
    """The records of a store in memory (`archives.port.Records`)."""

    def __init__(
        self,
        *,
        promises: Iterable[Promise],
        tasks: Iterable[Task],
        callbacks: Mapping[str, Mapping[str, Callback]],
        listeners: Mapping[str, Iterable[str]],
        outbox: Mapping[str, Mapping[str, int]],
        schedules: Iterable[Schedule],
    ) -> None:
        """Copy the tables, before anybody else has a turn."""
        self._promises = sorted(promises, key=_by_id)
        self._tasks = sorted(tasks, key=_by_id)
        self._callbacks = [c for _, of_one in sorted(callbacks.items()) for c in of_one.values()]
        self._listeners = [
            Listener(promise_id=promise_id, address=address)
            for promise_id, addresses in sorted(listeners.items())
            for address in sorted(addresses)
        ]
        self._unblocks = [
            Unblock(promise_id=promise_id, address=address, enqueued_at_ms=at_ms)
            for address, waiting in sorted(outbox.items())
            for promise_id, at_ms in sorted(waiting.items())
        ]
        self._schedules = sorted(schedules, key=_by_id)

    def promises(self, *, payloads: bool) -> AsyncIterator[Chunk[Promise]]:  # noqa: ARG002 - they
        """Read every promise; its payloads are there already."""
        return _chunks(self._promises)

    def tasks(self) -> AsyncIterator[Chunk[Task]]:
        """Read every task with its resumes."""
        return _chunks(self._tasks)

    def callbacks(self) -> AsyncIterator[Chunk[Callback]]:
        """Read every obligation to a task."""
        return _chunks(self._callbacks)

    def listeners(self) -> AsyncIterator[Chunk[Listener]]:
        """Read every obligation to an address."""
        return _chunks(self._listeners)

    def unblocks(self) -> AsyncIterator[Chunk[Unblock]]:
        """Read every message that waits."""
        return _chunks(self._unblocks)

    def schedules(self) -> AsyncIterator[Chunk[Schedule]]:
        """Read every schedule."""
        return _chunks(self._schedules)


async def _chunks(records: Sequence[R]) -> AsyncIterator[Chunk[R]]:
    for start in range(0, len(records), CHUNK_ROWS):
        yield Chunk(records=records[start : start + CHUNK_ROWS])
