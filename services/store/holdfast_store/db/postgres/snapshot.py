"""Everything that a PostgreSQL database holds at one instant, read beside its stores."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from holdfast.core.checks.snapshot import Violation
from holdfast_store.archives.port import DAMAGED
from holdfast_store.db import revisions
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres import schema as postgres_schema
from holdfast_store.db.snapshot_reader import SnapshotReader
from holdfast_store.db.statements import Statements

CHUNK_ROWS: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""A chunk ends behind the portion that passes this."""

PORTION_ROWS: Final = 16
"""Rows that are fetched together: with two payloads of a mebibyte each, they pass the bound."""

_CLOCK: Final = "SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

DAMAGES_MAX: Final = 100
"""Damages of one sort that are told; whoever mends the first ones asks again."""


class PostgresSnapshot(SnapshotReader):
    """One long read transaction."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        of_batches: Statements,
        statements: ArchiveStatements,
        *,
        chunk_rows: int,
    ) -> None:
        super().__init__(of_batches, statements)
        self._connection = connection
        self._chunk_rows = chunk_rows
        self._now_ms = 0

    async def begin(self) -> None:
        """Fix what is seen, and check the schema."""
        with meant():
            await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            history = await postgres_schema.history(self._connection, self._of_batches)
            self._now_ms = await self._connection.fetchval(_CLOCK)
        revisions.check_current(history)
        self._revision = history.newest or ""
        with meant():
            newest_ms = await self._connection.fetchval(self._of_batches.newest)
        self._now_ms = max(self._now_ms, newest_ms or 0)

    @property
    def now_ms(self) -> int:
        """Tell an instant behind the snapshot, by the server's clock unless that was set back.

        This machine's may be behind it, and everything that was written lately in its future.
        """
        return self._now_ms

    # Rows

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
