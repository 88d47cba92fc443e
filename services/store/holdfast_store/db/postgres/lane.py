"""The connection that batches run on, and how each of their transactions ends.

The answer to a commit may be lost. The transaction of a batch therefore writes the batch's number
into the row of its writer, and whoever lost the answer asks for that row on a new connection: it
waits there for the old transaction, if that still runs, and then knows.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import Final

import asyncpg

from holdfast.core.records import Preload
from holdfast.core.working_set import Changes
from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres import schema as postgres_schema
from holdfast_store.db.postgres.clock import DatabaseClock
from holdfast_store.db.postgres.connections import Connector
from holdfast_store.db.postgres.session import PostgresSession
from holdfast_store.db.postgres.statements import LockingStatements
from holdfast_store.db.statements import Statements
from holdfast_store.preloads import NO_CHILDREN, born_without_children
from holdfast_store.storage import (
    CommitOutcomeUnknown,
    Loaded,
    Plan,
    StorageError,
    StorageUnavailable,
    TransactionAborted,
)

ROUNDS_MAX: Final = 4
"""Tries to lock all that a batch needs while it keeps growing."""

PAUSE_MIN_S: Final = 0.05
PAUSE_MAX_S: Final = 2.0
"""Pauses between attempts to connect."""

ROLLBACK_S: Final = 2.0

NO_BATCH: Final = 0
"""The number of a writer that has committed nothing."""

FORGOTTEN_AFTER_MS: Final = 24 * 3_600_000
"""Silence after which a writer's row is deleted; nobody is in doubt for so long."""


class PostgresLane:
    """Runs one transaction after the other.

    Invariant: when a method has raised, no transaction is open on the connection that is kept.
    """

    def __init__(
        self,
        connector: Connector,
        statements: Statements,
        locking: LockingStatements,
        report: Callable[[str], None],
        *,
        clock: DatabaseClock,
        tells_time: bool,
        doubt_s: float,
    ) -> None:
        self._connector = connector
        self._statements = statements
        self._locking = locking
        self._report = report
        self._clock = clock
        self._tells_time = tells_time
        self._doubt_s = doubt_s
        self._writer = uuid.uuid4().hex
        self._numbers = count(NO_BATCH + 1)
        self._connection: asyncpg.Connection | None = None
        self._session: PostgresSession | None = None
        self._in_transaction = False
        self._refused: StorageError | None = None
        self._failures = 0
        self._connect_at = 0.0

    async def open(self) -> None:
        """Connect, check the schema and read the clock."""
        async with self._undone_on_failure():
            session = await self._current()
            [(database_ms,)] = await session.fetch(self._locking.clock)
            self._clock.hear(database_ms)
            await session.fetch(self._locking.writers_forget, FORGOTTEN_AFTER_MS)

    async def close(self) -> None:
        """Take the writer's row away and disconnect; nothing depends on either."""
        connection, session = self._connection, self._session
        if connection is None or session is None:
            return
        try:
            async with asyncio.timeout(ROLLBACK_S):
                await session.fetch(self._locking.writer_leave, self._writer)
                await connection.close()
        except postgres_errors.FAILURES:
            connection.terminate()
        finally:
            self._drop()

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Begin, lock and read; when a batch turns out to need more, from the beginning.

        Locks are always taken in the order of ids, so what came to light is not locked on top. A
        second load of a transaction cannot begin again, and may meet another one in a circle: it
        raises `TransactionAborted` then.
        """
        rounds = 1 if self._in_transaction else ROUNDS_MAX

        tells_time = self._tells_time and not plan.told

        def now(database_ms: int) -> int:
            if not tells_time:
                return now_ms
            return self._clock.hear(database_ms, asked_ns=asked_ns)

        also: frozenset[str] = frozenset()
        at_ms = None if tells_time else now_ms
        for _ in range(rounds):
            asked_ns = self._clock.asks()
            async with self._undone_on_failure():
                session = await self._begun()
                found = await session.load(plan, at_ms=at_ms, also=also, now=now)
            if isinstance(found, Loaded):
                return found
            also |= found.ids
            await self.roll_back()
        raise TransactionAborted("what the batch must lock kept growing")

    async def commit(
        self, changes: Changes, preload_of: Sequence[str], preload_bytes_max: int
    ) -> dict[str, Preload]:
        """Save, read preloads, commit."""
        number = next(self._numbers)
        born = born_without_children(changes).intersection(preload_of)
        async with self._undone_on_failure():
            session = await self._begun()
            if changes:
                born -= await session.save(changes, writer=self._writer, number=number, born=born)
            others = [task_id for task_id in preload_of if task_id not in born]
            preloads = await session.preload(others, bytes_max=preload_bytes_max)
            preloads |= dict.fromkeys(born, NO_CHILDREN)
        if changes:
            await self._end(session, number)
        else:
            await self.roll_back()  # of nothing, which no disk needs to hear of
        return preloads

    async def roll_back(self) -> None:
        """Undo what was not committed."""
        await self._recover(None)

    # The transaction's ends

    async def _begun(self) -> PostgresSession:
        """Answer the session, in a transaction."""
        is_old = self._connection is not None
        session = await self._current()
        if self._in_transaction:
            return session
        try:
            await session.execute("BEGIN")
        except postgres_errors.FAILURES as error:
            if not (is_old and postgres_errors.is_of_connection(error)):
                raise
            # It broke while nobody used it: the server was restarted, or a proxy lost patience.
            self._drop()
            session = await self._current()
            await session.execute("BEGIN")
        self._in_transaction = True
        return session

    @contextlib.asynccontextmanager
    async def _undone_on_failure(self) -> AsyncIterator[None]:
        """Keep the invariant of this class, and raise what a failure means."""
        try:
            yield
        except postgres_errors.FAILURES as error:
            await self._recover(error)
            raise postgres_errors.meaning_of(error) from error
        except asyncio.CancelledError:
            self._drop()  # the server undoes what is open when it hears of that
            raise
        except BaseException:
            await self._recover(None)
            raise

    async def _end(self, session: PostgresSession, number: int) -> None:
        try:
            tag = await session.execute("COMMIT")
        except postgres_errors.FAILURES as error:
            if postgres_errors.tells_that_nothing_was_committed(error):
                await self._recover(error)
                raise postgres_errors.meaning_of(error) from error
            self._drop()
            await self._learn_outcome(number, error)
            return
        except BaseException:
            self._drop()
            raise
        self._in_transaction = False
        if tag != "COMMIT":
            raise TransactionAborted(f"the database answered {tag} to a commit")

    async def _learn_outcome(self, number: int, broken: BaseException) -> None:
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

        Writing the row waits for a transaction that has written it and may still commit. It also
        keeps one that has not come so far from ever doing so.
        """
        try:
            connection = await self._connector.connect()
        except StorageError:
            return None
        try:
            self._report(self._locking.last_batch)
            found: int = await connection.fetchval(self._locking.last_batch, self._writer, NO_BATCH)
        except postgres_errors.FAILURES:
            return None
        else:
            return found
        finally:
            connection.terminate()

    async def _recover(self, error: BaseException | None) -> None:
        """Make the connection usable again, or drop it, so that the next call opens another."""
        if self._connection is None or self._session is None:
            return
        if self._connection.is_closed() or (
            error is not None and postgres_errors.is_of_connection(error)
        ):
            self._drop()
            return
        if not self._in_transaction:
            return
        try:
            async with asyncio.timeout(ROLLBACK_S):
                await self._session.execute("ROLLBACK")
        except (*postgres_errors.FAILURES, asyncio.CancelledError) as failure:
            self._drop()
            if isinstance(failure, asyncio.CancelledError):
                raise
        self._in_transaction = False

    # The connection

    async def _current(self) -> PostgresSession:
        """Answer the session; raise `TransactionAborted` when its transaction ended with it."""
        if self._connection is not None and self._connection.is_closed():
            was_in_transaction = self._in_transaction
            self._drop()
            if was_in_transaction:
                # Its locks are gone: what was decided under them must not be written under none.
                raise TransactionAborted("the connection broke in the midst of the transaction")
        if self._session is None:
            self._connection = await self._connect()
            self._session = PostgresSession(
                self._connection, self._statements, self._locking, self._report
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
            await postgres_schema.enter(connection, self._statements)
        except postgres_errors.FAILURES as error:
            connection.terminate()
            raise self._connector.refusal(error) from error
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _drop(self) -> None:
        connection, self._connection, self._session = self._connection, None, None
        self._in_transaction = False
        if connection is not None:
            connection.terminate()
