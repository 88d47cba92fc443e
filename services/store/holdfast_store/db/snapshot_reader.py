"""Which records a snapshot of a database reads, whatever the database; how is the subclass's."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast_store.archives.port import Chunk, Listener
from holdfast_store.db import archive_rows as archived
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.schedule_rows import schedule_of
from holdfast_store.db.statements import Statements


class SnapshotReader(ABC):
    """Reads records out of rows that are all of one instant."""

    def __init__(self, of_batches: Statements, statements: ArchiveStatements) -> None:
        self._of_batches = of_batches
        self._statements = statements
        self._revision = ""

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""
        return self._revision

    # Everything

    async def promises(self, *, payloads: bool) -> AsyncIterator[Chunk[Promise]]:
        """Read every promise."""
        text = self._statements.promises if payloads else self._statements.promises_lean
        async for found in self._chunks(text):
            yield archived.PROMISES.chunk(found, archived.promise_of)

    async def tasks(self) -> AsyncIterator[Chunk[Task]]:
        """Read every task with its resumes."""
        async for found in self._chunks(self._statements.tasks):
            woken_by: dict[str, set[str]] = {}
            ids = [row[0] for row in found]
            for task_id, awaited in await self._fetch(self._of_batches.resumes, ids):
                woken_by.setdefault(task_id, set()).add(awaited)
            yield archived.TASKS.chunk(found, archived.task_reader(woken_by))

    async def callbacks(self) -> AsyncIterator[Chunk[Callback]]:
        """Read every obligation to a task."""
        async for found in self._chunks(self._statements.callbacks):
            yield archived.CALLBACKS.chunk(found, archived.callback_of)

    async def listeners(self) -> AsyncIterator[Chunk[Listener]]:
        """Read every obligation to an address."""
        async for found in self._chunks(self._statements.listeners):
            yield archived.LISTENERS.chunk(found, archived.listener_of)

    async def unblocks(self) -> AsyncIterator[Chunk[Unblock]]:
        """Read every message that waits."""
        async for found in self._chunks(self._statements.unblocks):
            yield archived.UNBLOCKS.chunk(found, archived.unblock_of)

    async def schedules(self) -> AsyncIterator[Chunk[Schedule]]:
        """Read every schedule."""
        async for found in self._chunks(self._statements.schedules):
            yield archived.SCHEDULES.chunk(found, schedule_of)

    # What is named

    async def find_promises(self, ids: Collection[str]) -> Sequence[Promise]:
        """Read these promises without payloads."""
        found = await self._fetch(self._statements.find_promises, ids)
        return archived.PROMISES.chunk(found, archived.promise_of).records

    async def find_tasks(self, ids: Collection[str]) -> Sequence[Task]:
        """Read these tasks without resumes."""
        found = await self._fetch(self._statements.find_tasks, ids)
        return archived.TASKS.chunk(found, archived.task_reader({})).records

    async def find_carriers(self, ids: Collection[str]) -> frozenset[str]:
        """Say which of these promises carry a callback or a listener."""
        found = await self._fetch(self._statements.find_carriers, ids)
        return frozenset(row[0] for row in found)

    async def find_waits(self, awaiters: Collection[str]) -> Sequence[Callback]:
        """Read the callbacks that these tasks wait for."""
        found = await self._fetch(self._statements.find_waits, awaiters)
        return archived.CALLBACKS.chunk(found, archived.callback_of).records

    @abstractmethod
    def _chunks(self, text: str) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Run a statement and answer its rows in bounded parts."""

    @abstractmethod
    async def _fetch(self, text: str, ids: Collection[str]) -> list[tuple[Any, ...]]:
        """Run a statement for these ids; without any, do nothing."""
