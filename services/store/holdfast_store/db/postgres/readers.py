"""A few connections for what is asked outside of batches."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres.connections import Connector
from holdfast_store.db.postgres.session import PostgresSession
from holdfast_store.db.postgres.statements import LockingStatements
from holdfast_store.db.statements import Statements
from holdfast_store.storage import StorageUnavailable

R = TypeVar("R")


class PostgresReaders:
    """Connections that are opened when first needed; batches never wait for them."""

    def __init__(
        self,
        connector: Connector,
        statements: Statements,
        locking: LockingStatements,
        report: Callable[[str], None],
        *,
        connections: int,
    ) -> None:
        self._connector = connector
        self._statements = statements
        self._locking = locking
        self._report = report
        self._places = asyncio.Semaphore(connections)
        self._idle: list[asyncpg.Connection] = []
        self._is_open = True

    async def run(self, work: Callable[[PostgresSession], Awaitable[R]]) -> R:
        """Do some work on a connection; raise what its failure means."""
        async with self._places:
            if self._is_closed():
                raise StorageUnavailable("the database is not open")
            connection = await self._take()
            session = PostgresSession(connection, self._statements, self._locking, self._report)
            try:
                result = await work(session)
            except postgres_errors.FAILURES as error:
                connection.terminate()
                raise postgres_errors.meaning_of(error) from error
            except BaseException:
                connection.terminate()
                raise
            self._idle.append(connection)
        if self._is_closed():
            await self.close()
        return result

    async def run_whole(self, work: Callable[[PostgresSession], Awaitable[R]]) -> R:
        """Do some work as a transaction of its own."""

        async def whole(session: PostgresSession) -> R:
            await session.execute("BEGIN")
            result = await work(session)
            await session.execute("COMMIT")
            return result

        return await self.run(whole)

    async def close(self) -> None:
        """Disconnect; what runs still fails."""
        self._is_open = False
        while self._idle:
            self._idle.pop().terminate()

    def _is_closed(self) -> bool:
        """Whether it was closed, maybe while a connection was in use."""
        return not self._is_open

    async def _take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connector.connect()
