"""A PostgreSQL database as a whole: looked at beside the stores that use it, or filled."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import asyncpg

from holdfast_store.db import archive_statements, statements
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.postgres.restoration import PostgresRestoration
from holdfast_store.db.postgres.snapshot import CHUNK_ROWS, PostgresSnapshot

BOUNDS: Final = Bounds(statement_ms=0, idle_in_transaction_ms=0, answer_s=3_600.0)
"""A large table takes long, and whoever reads a chunk may take long as well."""


class PostgresArchive:
    """A database on a server; each use has a connection of its own."""

    def __init__(self, url: str, *, chunk_rows: int = CHUNK_ROWS) -> None:
        self._connector = Connector(url, bounds=BOUNDS)
        self._chunk_rows = chunk_rows
        self._of_batches = statements.build(Postgres())
        self._statements = archive_statements.build(Postgres())

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresSnapshot]:
        """Begin to read. Meanwhile the server keeps what is replaced, until the end."""
        async with self._connected() as connection:
            snapshot = PostgresSnapshot(
                connection, self._of_batches, self._statements, chunk_rows=self._chunk_rows
            )
            await snapshot.begin()
            yield snapshot

    @contextlib.asynccontextmanager
    async def restoration(self) -> AsyncIterator[PostgresRestoration]:
        """Keep every store out of the tables, and begin to fill them."""
        async with self._connected() as connection:
            restoration = PostgresRestoration(connection, self._statements)
            await restoration.begin(self._of_batches)
            yield restoration

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await self._connector.connect()
        try:
            yield connection
        finally:
            connection.terminate()  # the server undoes what was not committed
