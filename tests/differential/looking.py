"""Looking at a PostgreSQL database again and again: to connect takes longer than to read it all."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg

from holdfast_store.archives.port import Records
from holdfast_store.db.opening import is_postgres
from holdfast_store.db.postgres.archive import PostgresArchive
from holdfast_store.storage import Storage
from holdfast_store.storages import snapshots_of

Look = Callable[[], AbstractAsyncContextManager[Records]]


class _Kept(PostgresArchive):
    """One connection for all that is read, one transaction for each time."""

    connection: asyncpg.Connection | None = None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        connection = self.connection or await self._connector.connect()
        self.connection = connection
        try:
            yield connection
        finally:
            await connection.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def looking_at(url: str, storage: Storage) -> AsyncIterator[Look]:
    """Say how to read everything at once; at the end nothing is open any more."""
    if not is_postgres(url):
        yield snapshots_of(url, storage)
        return
    kept = _Kept(url)
    try:
        yield kept.snapshot
    finally:
        if kept.connection is not None:
            kept.connection.terminate()
