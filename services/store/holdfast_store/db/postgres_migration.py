"""A transaction for migrations on PostgreSQL, beside no other one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast_store.db import postgres_errors
from holdfast_store.db.postgres_connections import Bounds, Connector
from holdfast_store.storage import TransactionAborted

R = TypeVar("R")

MIGRATION_LOCK: Final = 0x_48_46_53_54
"""Any number that no other program locks in the same database."""

LONGEST_S: Final = 3_600.0
"""No migration of a large table takes longer."""


def in_transaction(url: str, work: Callable[[sa.Connection], R], *, patience_ms: int) -> R:
    """Do some work in a transaction; wait no longer than this for another process that migrates.

    It runs on a thread of its own, because the driver wants an event loop and the caller may have
    one already.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="migration") as thread:
        return thread.submit(asyncio.run, _in_transaction(url, work, patience_ms)).result()


async def _in_transaction(url: str, work: Callable[[sa.Connection], R], patience_ms: int) -> R:
    bounds = Bounds(
        statement_ms=0, idle_in_transaction_ms=0, lock_ms=patience_ms, answer_s=LONGEST_S
    )
    connector = Connector(url, bounds=bounds)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connector.connect, poolclass=sa.NullPool
    )
    try:
        async with engine.begin() as connection:
            lock = sa.text("SELECT pg_advisory_xact_lock(:key)")
            await connection.execute(lock, {"key": MIGRATION_LOCK})
            return await connection.run_sync(work)
    except sa.exc.DBAPIError as error:
        meaning = postgres_errors.meaning_of(_of_driver(error))
        if isinstance(meaning, TransactionAborted):
            raise TransactionAborted(
                f"another process holds {connector.place}: {meaning}"
            ) from error
        raise meaning from error
    finally:
        await engine.dispose()


def _of_driver(error: sa.exc.DBAPIError) -> BaseException:
    """Take the driver's own error out of its wrappings."""
    adapted = error.orig or error
    return adapted.__cause__ or adapted
