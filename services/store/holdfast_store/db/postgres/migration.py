"""Migrations of a PostgreSQL database, beside the stores that use it but beside no other migration.

What changes a table needs it for itself for a moment. Whoever waits for that moment stands in the
way of everybody behind him, so each attempt is short and there are pauses between them.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast_store.db.errors import SchemaInUse
from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.postgres.schema import PROGRAMS_LOCK
from holdfast_store.db.revisions import Migration
from holdfast_store.db.steps import Steps
from holdfast_store.storage import TransactionAborted

R = TypeVar("R")

MIGRATION_LOCK: Final = 0x_48_46_53_54
"""Any number that no other program locks in the same database."""

LONGEST_S: Final = 24 * 3_600.0
"""No index of a large table takes longer."""

ATTEMPT_MS: Final = 500
"""How long one attempt waits for a table: stores wait behind it, a tenth of their patience."""

PAUSE_S: Final = 0.5
"""Between two attempts, for those who had to wait."""

ASK_AGAIN_S: Final = 0.05


def alone(url: str, work: Callable[[Steps], R], *, patience_ms: int) -> R:
    """Do some work while nobody else migrates; wait no longer than this for whoever does.

    It runs on a thread of its own, because the driver wants an event loop and the caller may have
    one already.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="migration") as thread:
        return thread.submit(asyncio.run, _alone(url, work, patience_ms / 1000)).result()


async def _alone(url: str, work: Callable[[Steps], R], patience_s: float) -> R:
    bounds = Bounds(
        statement_ms=0, idle_in_transaction_ms=0, lock_ms=ATTEMPT_MS, answer_s=LONGEST_S
    )
    connector = Connector(url, bounds=bounds)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector.connect,
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
    )

    def whole(connection: sa.Connection) -> R:
        _lock(connection, place=connector.place, patience_s=patience_s)
        return work(_Steps(connection, place=connector.place, patience_s=patience_s))

    try:
        async with engine.connect() as connection:
            return await connection.run_sync(whole)
    except sa.exc.DBAPIError as error:
        cause = _of_driver(error)
        raise postgres_errors.meaning_of(cause) from error
    finally:
        await engine.dispose()


def _lock(connection: sa.Connection, *, place: str, patience_s: float) -> None:
    """Take the lock of migrations for as long as the connection lives.

    By asking again and again: a statement that waited for it would be one that the building of an
    index waits for.
    """
    deadline = time.monotonic() + patience_s
    asking = sa.text("SELECT pg_try_advisory_lock(:key)")
    while not connection.execute(asking, {"key": MIGRATION_LOCK}).scalar():
        if time.monotonic() >= deadline:
            raise TransactionAborted(f"another process holds {place}: it migrates it now")
        time.sleep(ASK_AGAIN_S)


class _Steps:
    """The steps of a database on a server, each of which stands by itself."""

    def __init__(self, connection: sa.Connection, *, place: str, patience_s: float) -> None:
        self._connection = connection
        self._place = place
        self._patience_s = patience_s

    def one(self, work: Callable[[sa.Connection], R]) -> R:
        """Try until the tables can be had."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self._attempt(work)
            except sa.exc.DBAPIError as error:
                meaning = postgres_errors.meaning_of(_of_driver(error))
                if not isinstance(meaning, TransactionAborted):
                    raise
                if time.monotonic() >= deadline:
                    raise TransactionAborted(
                        f"another process holds tables of {self._place}, and did for "
                        f"{self._patience_s:g} s (look for a long transaction in "
                        f"pg_stat_activity, such as a backup or a check): {meaning}"
                    ) from error
            time.sleep(PAUSE_S)

    def _attempt(self, work: Callable[[sa.Connection], R]) -> R:
        self._connection.exec_driver_sql("BEGIN")
        try:
            result = work(self._connection)
            self._connection.exec_driver_sql("COMMIT")
        except BaseException:
            self._connection.exec_driver_sql("ROLLBACK")
            raise
        return result

    def outside(self, work: Callable[[sa.Connection], R]) -> R:
        """Wait for every transaction that began before, and let all others go on meanwhile."""
        self._connection.exec_driver_sql("SET lock_timeout = 0")
        try:
            return work(self._connection)
        finally:
            self._connection.exec_driver_sql(f"SET lock_timeout = {ATTEMPT_MS}")

    def check_nobody_needs(self, connection: sa.Connection, migration: Migration) -> None:
        """Take the locks of the programs that are too old, until the transaction ends."""
        assert migration.needs is not None
        asking = sa.text("SELECT pg_try_advisory_xact_lock(:programs, :revision)")
        for revision in range(int(migration.needs)):
            parameters = {"programs": PROGRAMS_LOCK, "revision": revision}
            if not connection.execute(asking, parameters).scalar():
                raise SchemaInUse(
                    f"{migration} needs that every store knows revision {migration.needs}, and "
                    f"one is connected that knows only revision {revision:04}: end the stores of "
                    "the older version first"
                )


def _of_driver(error: sa.exc.DBAPIError) -> BaseException:
    """Take the driver's own error out of its wrappings."""
    adapted = error.orig or error
    return adapted.__cause__ or adapted
