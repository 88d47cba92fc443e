"""Everything that a SQLite file holds at one instant, read beside its owner."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import Final

from holdfast.core.checks.snapshot import Violation
from holdfast_store.archives.port import DAMAGED
from holdfast_store.clock import Clock
from holdfast_store.db import revisions
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.rows import Row, json_text
from holdfast_store.db.session import Session
from holdfast_store.db.snapshot_reader import SnapshotReader
from holdfast_store.db.sqlite.thread import SqliteThread
from holdfast_store.db.statements import Statements

CHUNK_ROWS: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""A chunk ends behind the row that passes this."""

DAMAGES_MAX: Final = 100
"""Damages of one sort that are told; whoever mends the first ones asks again."""


class SqliteSnapshot(SnapshotReader):
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
        super().__init__(of_batches, statements)
        self._connection = connection
        self._thread = thread
        self._chunk_rows = chunk_rows
        self._session = Session(connection, of_batches, lambda _text: None)
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
        [(newest_ms,)] = self._session.fetch(self._of_batches.newest)
        self._now_ms = max(Clock()(), newest_ms or 0)

    @property
    def now_ms(self) -> int:
        """Tell an instant behind the snapshot, also when its machine's clock was set back since."""
        return self._now_ms

    # Rows

    async def _chunks(self, text: str) -> AsyncIterator[list[Row]]:
        cursor = await self._thread.run(partial(self._connection.execute, text))
        while found := await self._thread.run(partial(_take, cursor, self._chunk_rows)):
            yield found

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
