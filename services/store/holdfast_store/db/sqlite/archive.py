"""A SQLite file as a whole: looked at beside its owner, or filled by a new one."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from holdfast_store.db import archive_statements, statements
from holdfast_store.db.dialects import Sqlite
from holdfast_store.db.errors import SchemaBehind
from holdfast_store.db.ownership import Ownership
from holdfast_store.db.sqlite.connections import check_version, connect
from holdfast_store.db.sqlite.restoration import SqliteRestoration
from holdfast_store.db.sqlite.snapshot import CHUNK_ROWS, SqliteSnapshot
from holdfast_store.db.sqlite.thread import SqliteThread

BUSY_TIMEOUT_MS: Final = 5_000


class SqliteArchive:
    """A database file; each use has a connection and a thread of its own."""

    def __init__(self, path: Path, *, chunk_rows: int = CHUNK_ROWS) -> None:
        self._path = path
        self._chunk_rows = chunk_rows
        self._of_batches = statements.build(Sqlite())
        self._statements = archive_statements.build(Sqlite())

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteSnapshot]:
        """Begin to read. Meanwhile the owner writes into its log, which grows until the end."""
        thread = self._thread()
        try:
            connection = await thread.run(
                partial(connect, self._path, busy_timeout_ms=BUSY_TIMEOUT_MS, mode="ro")
            )
            try:
                snapshot = SqliteSnapshot(
                    connection,
                    thread,
                    self._of_batches,
                    self._statements,
                    chunk_rows=self._chunk_rows,
                )
                await snapshot.begin()
                yield snapshot
            finally:
                connection.interrupt()  # whoever was cancelled does not wait for a long statement
                await thread.run(connection.close)
        finally:
            thread.close()

    @contextlib.asynccontextmanager
    async def restoration(self) -> AsyncIterator[SqliteRestoration]:
        """Own the file, and begin to fill it."""
        thread = self._thread()
        ownership = Ownership(self._path)
        try:
            await thread.run(partial(ownership.claim, patience_s=0))
            connection = await thread.run(
                partial(connect, self._path, busy_timeout_ms=BUSY_TIMEOUT_MS)
            )
            try:
                restoration = SqliteRestoration(
                    connection, thread, self._of_batches, self._statements
                )
                await restoration.begin()
                try:
                    yield restoration
                finally:
                    await thread.run(restoration.leave)
            finally:
                await thread.run(connection.close)
        finally:
            thread.close()
            ownership.release()

    def _thread(self) -> SqliteThread:
        check_version()
        if not self._path.exists():
            raise SchemaBehind(f"there is no file {self._path}: run `holdfast-store migrate`")
        return SqliteThread(self._path)
