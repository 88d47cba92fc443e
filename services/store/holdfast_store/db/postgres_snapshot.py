"""Everything that a PostgreSQL database holds at one instant, read beside its stores."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from holdfast.core.checks.snapshot import Violation
from holdfast.core.records import Callback, Promise, Task, Unblock
from holdfast_store.archives.port import DAMAGED, Chunk, Listener, Schedule
from holdfast_store.db import archive_rows as archived
from holdfast_store.db import postgres_errors, postgres_schema, revisions
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.statements import Statements

CHUNK_ROWS: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""A chunk ends behind the portion that passes this."""

PORTION_ROWS: Final = 16
"""Rows that are fetched together: with two payloads of a mebibyte each, they pass the bound."""

_CLOCK: Final = "SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

DAMAGES_MAX: Final = 100
"""Damages of one sort that are told; whoever mends the first ones asks again."""


class PostgresSnapshot:
    """One long read transaction."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        of_batches: Statements,
        statements: ArchiveStatements,
        *,
        chunk_rows: int,
    ) -> None:
        self._connection = connection
        self._of_batches = of_batches
        self._statements = statements
        self._chunk_rows = chunk_rows
        self._revision = ""
        self._now_ms = 0

    async def begin(self) -> None:
        """Fix what is seen, and check the schema."""
        with meant():
            await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            history = await postgres_schema.history(self._connection, self._of_batches)
            self._now_ms = await self._connection.fetchval(_CLOCK)
        revisions.check_current(history)
        self._revision = history.newest or ""

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""
        return self._revision

    @property
    def now_ms(self) -> int:
        """Tell an instant behind the snapshot, by the server's clock.

        This machine's may be behind it, and everything that was written lately in its future.
        """
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

    async def _chunks(self, text: str) -> AsyncIterator[list[tuple[Any, ...]]]:
        with meant():
            cursor = await (await self._connection.prepare(text)).cursor()
        while found := await self._take(cursor):
            yield found

    async def _take(self, cursor: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - the driver's
        """Fetch until a bound is passed."""
        found: list[tuple[Any, ...]] = []
        size = 0
        while len(found) < self._chunk_rows and size <= CHUNK_BYTES:
            with meant():
                portion = await cursor.fetch(min(PORTION_ROWS, self._chunk_rows - len(found)))
            if not portion:
                break
            rows = [_as_stored_elsewhere(row) for row in portion]
            size += sum(len(cell) for row in rows for cell in row if isinstance(cell, str | bytes))
            found += rows
        return found

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

    async def _fetch(self, text: str, ids: Collection[str]) -> list[tuple[Any, ...]]:
        if not ids:
            return []
        with meant():
            return [
                _as_stored_elsewhere(row) for row in await self._connection.fetch(text, list(ids))
            ]

    # The database

    async def damages(self) -> Sequence[Violation]:
        """Look for what belongs to nothing; the files are the server's business."""
        with meant():
            lost = await self._connection.fetch(self._statements.lost_resumes, DAMAGES_MAX)
        return [
            Violation(
                rule=DAMAGED,
                meaning="the database is whole",
                subject=f"{task_id} <- {awaited}",
                found="resumes: there is no such task",
            )
            for task_id, awaited in lost
        ]


@contextmanager
def meant() -> Iterator[None]:
    """Raise what a failure means."""
    try:
        yield
    except postgres_errors.FAILURES as error:
        raise postgres_errors.meaning_of(error) from error


def _as_stored_elsewhere(row: Sequence[Any]) -> tuple[Any, ...]:
    """Say booleans as the numbers that rows have for them."""
    return tuple(int(cell) if isinstance(cell, bool) else cell for cell in row)
