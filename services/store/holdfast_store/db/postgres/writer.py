"""The connection that batches are written on, and how each of their transactions ends.

The answer to a commit may be lost. The transaction of a batch therefore writes the batch's number
into the row of its writer, and whoever lost the answer asks for that row on a new connection: it
waits there for the old transaction, if that still runs, and then knows.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Final

import asyncpg

from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres import schema as postgres_schema
from holdfast_store.db.postgres.connections import Connector
from holdfast_store.db.postgres.known import KnownPromises
from holdfast_store.db.postgres.session import PostgresSession
from holdfast_store.db.postgres.statements import LockingStatements
from holdfast_store.db.statements import Statements
from holdfast_store.storage import (
    CommitOutcomeUnknown,
    StorageError,
    StorageUnavailable,
    TransactionAborted,
)

PAUSE_MIN_S: Final = 0.05
PAUSE_MAX_S: Final = 2.0
"""Pauses between attempts to connect."""

ROLLBACK_S: Final = 2.0

REVISIONS_HOLD: Final = "0009"
"""The schema's floor from which on every store renews the revision of what it changes."""

NO_BATCH: Final = 0
"""The number of a writer that has committed nothing."""


class PostgresWriter:
    """Holds one connection, with at most one transaction open on it.

    Invariant: when a method has raised, or a block under `undone_on_failure`, no transaction is
    open on the connection that is kept.
    """

    def __init__(
        self,
        connector: Connector,
        statements: Statements,
        locking: LockingStatements,
        report: Callable[[str], None],
        *,
        known: KnownPromises,
        doubt_s: float,
    ) -> None:
        self._connector = connector
        self._statements = statements
        self._locking = locking
        self._report = report
        self._known = known
        self._doubt_s = doubt_s
        self.id: Final = uuid.uuid4().hex
        self._numbers = count(NO_BATCH + 1)
        self.last_batch: int | None = None
        """The one that the writer's row names, if this connection has written it."""
        self.is_in_transaction = False
        self.goes_by_revisions = False
        self._connection: asyncpg.Connection | None = None
        self._session: PostgresSession | None = None
        self._refused: StorageError | None = None
        self._failures = 0
        self._connect_at = 0.0

    def next_number(self) -> int:
        """Answer a number that no batch of this writer has."""
        return next(self._numbers)

    async def close(self) -> None:
        """Disconnect. The writer's row stays for a day: it says up to when time was used."""
        connection = self._connection
        if connection is None:
            return
        try:
            async with asyncio.timeout(ROLLBACK_S):
                await connection.close()
        except postgres_errors.FAILURES:
            connection.terminate()
        finally:
            self.drop()

    # The transaction's ends

    async def begun(self) -> PostgresSession:
        """Answer the session, in a transaction."""
        is_old = self._connection is not None
        session = await self.current()
        if self.is_in_transaction:
            return session
        try:
            await session.execute("BEGIN")
        except postgres_errors.FAILURES as error:
            if not (is_old and postgres_errors.is_of_connection(error)):
                raise
            # It broke while nobody used it: the server was restarted, or a proxy lost patience.
            self.drop()
            session = await self.current()
            await session.execute("BEGIN")
        self.is_in_transaction = True
        return session

    @contextlib.asynccontextmanager
    async def undone_on_failure(self) -> AsyncIterator[None]:
        """Keep the invariant of this class, and raise what a failure means."""
        try:
            yield
        except postgres_errors.FAILURES as error:
            await self.recover(error)
            raise postgres_errors.meaning_of(error) from error
        except asyncio.CancelledError:
            self.drop()  # the server undoes what is open when it hears of that
            raise
        except BaseException:
            await self.recover(None)
            raise

    async def end(self, session: PostgresSession, number: int) -> None:
        """Commit what is in the transaction, the number of its batch among it."""
        try:
            tag = await session.execute("COMMIT")
        except postgres_errors.FAILURES as error:
            if postgres_errors.tells_that_nothing_was_committed(error):
                await self.recover(error)
                raise postgres_errors.meaning_of(error) from error
            self.drop()
            await self.learn_outcome(number, error)
            return
        except BaseException:
            self.drop()
            raise
        self.is_in_transaction = False
        if tag != "COMMIT":
            raise TransactionAborted(f"the database answered {tag} to a commit")
        self.last_batch = number

    async def learn_outcome(self, number: int, broken: BaseException) -> None:
        """Return if the batch stands, raise if it does not; never guess."""
        pause_s = PAUSE_MIN_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._doubt_s):
                while (last := await self._find_last_batch()) is None:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, PAUSE_MAX_S)
            if last == number:
                return
            raise TransactionAborted(f"the commit did not arrive: {broken}") from broken
        raise CommitOutcomeUnknown(
            f"the connection broke during the commit, and {self._connector.place} could not be "
            f"asked for {self._doubt_s:g} s how it ended: {broken}"
        ) from broken

    async def _find_last_batch(self) -> int | None:
        """Ask for this writer's last batch; `None` when nobody can tell yet.

        Writing the row waits for a transaction that has it and may still commit. Another number in
        it keeps a statement that is on its way, and goes by the one before, from ever doing so.
        """
        try:
            connection = await self._connector.connect()
        except StorageError:
            return None
        session = PostgresSession(connection, self._statements, self._locking, self._report)
        try:
            async with connection.transaction():
                [(found,)] = await session.fetch(self._locking.last_batch, self.id, NO_BATCH)
                await session.fetch(self._locking.mark, self.id, self.next_number())
        except postgres_errors.FAILURES:
            return None
        else:
            return int(found)
        finally:
            connection.terminate()

    async def recover(self, error: BaseException | None) -> None:
        """Make the connection usable again, or drop it, so that the next call opens another."""
        if self._connection is None or self._session is None:
            return
        if self._connection.is_closed() or (
            error is not None and postgres_errors.is_of_connection(error)
        ):
            self.drop()
            return
        if not self.is_in_transaction:
            return
        try:
            async with asyncio.timeout(ROLLBACK_S):
                await self._session.execute("ROLLBACK")
        except (*postgres_errors.FAILURES, asyncio.CancelledError) as failure:
            self.drop()
            if isinstance(failure, asyncio.CancelledError):
                raise
        self.is_in_transaction = False

    # The connection

    async def current(self) -> PostgresSession:
        """Answer the session; raise `TransactionAborted` when its transaction ended with it."""
        if self._connection is not None and self._connection.is_closed():
            was_in_transaction = self.is_in_transaction
            self.drop()
            if was_in_transaction:
                # Its locks are gone: what was decided under them must not be written under none.
                raise TransactionAborted("the connection broke in the midst of the transaction")
        if self._session is None:
            self._connection = await self._connect()
            self._session = PostgresSession(
                self._connection,
                self._statements,
                self._locking,
                self._report,
                known=self._known if self.goes_by_revisions else None,
            )
        return self._session

    async def _connect(self) -> asyncpg.Connection:
        """Connect; while the database is away, try rarely and refuse at once in between."""
        loop = asyncio.get_running_loop()
        if self._refused is not None and loop.time() < self._connect_at:
            raise StorageUnavailable(f"{self._refused}; it will be tried again in a moment")
        try:
            connection = await self._entered(await self._connector.connect())
        except StorageError as error:
            doublings = min(self._failures, 16)  # a number without end has no place in a float
            pause_s = min(PAUSE_MIN_S * 2**doublings, PAUSE_MAX_S)
            self._refused, self._failures = error, self._failures + 1
            self._connect_at = loop.time() + pause_s
            raise
        self._refused, self._failures = None, 0
        return connection

    async def _entered(self, connection: asyncpg.Connection) -> asyncpg.Connection:
        """Check the schema each time: it may have changed while this store was away."""
        try:
            history = await postgres_schema.enter(connection, self._statements)
            # Below that floor somebody may come who changes promises under their old revisions.
            self.goes_by_revisions = (history.floor or "") >= REVISIONS_HOLD
        except postgres_errors.FAILURES as error:
            connection.terminate()
            raise self._connector.refusal(error) from error
        except BaseException:
            connection.terminate()
            raise
        return connection

    def drop(self) -> None:
        """Leave the connection to itself: what is open on it will be undone."""
        connection, self._connection, self._session = self._connection, None, None
        self.is_in_transaction, self.last_batch = False, None
        if connection is not None:
            connection.terminate()
