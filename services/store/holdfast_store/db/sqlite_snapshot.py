"""Everything that a SQLite file holds at one instant, read beside its owner."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import Final

from holdfast.core.checks.snapshot import Violation
from holdfast.core.records import Callback, Promise, Task, Unblock
from holdfast_store.archives.port import DAMAGED, Chunk, Listener, Schedule
from holdfast_store.clock import Clock
from holdfast_store.db import archive_rows as archived
from holdfast_store.db import revisions
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.rows import Row, json_text
from holdfast_store.db.session import Session
from holdfast_store.db.sqlite_thread import SqliteThread
from holdfast_store.db.statements import Statements

CHUNK_ROWS: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""A chunk ends behind the row that passes this."""

DAMAGES_MAX: Final = 100
"""Damages of one sort that are told; whoever mends the first ones asks again."""


class SqliteSnapshot:
    """One long read transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        thread: SqliteThread,
        of_batches: Statements,
        statements: ArchiveStatements,
        *,
        chunk_rows: int,
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._of_batches = of_batches
        self._statements = statements
        self._chunk_rows = chunk_rows
        self._session = Session(connection, of_batches, lambda _text: None)
        self._revision = ""
        self._now_ms = 0

    async def begin(self) -> None:
        """Fix what is seen, and check the schema."""
        await self._thread.run(self._begin)

    def _begin(self) -> None:
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.execute("BEGIN")
        history = self._session.history()  # the first read fixes what is seen
        revisions.check_current(history)
        self._revision = history.newest or ""
        self._now_ms = Clock()()

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""
        return self._revision

    @property
    def now_ms(self) -> int:
        """Tell an instant behind the snapshot: a file has no clock but that of its machine."""
        return self._now_ms

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
            yield archived.SCHEDULES.chunk(found, archived.schedule_of)

    async def _chunks(self, text: str) -> AsyncIterator[list[Row]]:
        cursor = await self._thread.run(partial(self._connection.execute, text))
        while found := await self._thread.run(partial(_take, cursor, self._chunk_rows)):
            yield found

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

    async def _fetch(self, text: str, ids: Collection[str]) -> list[Row]:
        if not ids:
            return []
        parameters = (json_text(list(ids)),)
        return await self._thread.run(partial(self._session.fetch, text, parameters))

    # The file

    async def damages(self) -> Sequence[Violation]:
        """Have SQLite read the whole file, and look for what belongs to nothing."""
        return await self._thread.run(self._damages)

    def _damages(self) -> list[Violation]:
        try:
            lines = self._session.fetch(f"PRAGMA integrity_check({DAMAGES_MAX})")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                raise
            lines = [(str(error),)]
        found = [_damage("the file", line) for (line,) in lines if line != "ok"]
        lost = self._session.fetch(self._statements.lost_resumes, (DAMAGES_MAX,))
        for task_id, awaited in lost:
            found.append(_damage(f"{task_id} <- {awaited}", "resumes: there is no such task"))
        return found


def _take(cursor: sqlite3.Cursor, rows_max: int) -> list[Row]:
    """Fetch until a bound is passed."""
    found: list[Row] = []
    size = 0
    for row in cursor:
        found.append(row)
        size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if len(found) >= rows_max or size > CHUNK_BYTES:
            break
    return found


def _damage(subject: str, found: str) -> Violation:
    return Violation(rule=DAMAGED, meaning="the database is whole", subject=subject, found=found)
