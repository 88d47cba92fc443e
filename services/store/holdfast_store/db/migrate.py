"""Bring a database's tables up to this version, all missing migrations in one transaction."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from holdfast_store.db import sqlite_errors
from holdfast_store.db.dialects import migration_engine
from holdfast_store.db.opening import is_postgres, sqlite_path
from holdfast_store.db.revisions import (
    MIGRATIONS,
    check_history,
    expected_revision,
    known_revisions,
)
from holdfast_store.db.tables import schema_revisions

R = TypeVar("R")

BUSY_TIMEOUT_MS = 30_000
"""How long to wait for another process that migrates or writes."""


def migrate(url: str, *, folder: Path = MIGRATIONS, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> str:
    """Run the migrations that are missing; answer the revision that the database has now.

    Creates the file of a SQLite database, not its folder, and no database on a server. Two
    processes may call this at once: one waits for the other, no longer than `busy_timeout_ms`.
    Raises `SchemaAhead`, `SchemaTampered` or another `StorageError`; the tables are then as they
    were.
    """

    def work(connection: sa.Connection) -> None:
        if check_history(_applied(connection), folder):
            _upgrade(connection, folder)

    _in_transaction(url, work, busy_timeout_ms=busy_timeout_ms)
    return expected_revision(folder)


def current_revision(url: str) -> str | None:
    """Name the newest revision that ran on a database; `None` before the first."""
    if not is_postgres(url) and not sqlite_path(url).exists():
        return None  # connecting would create it
    return _in_transaction(url, lambda connection: next(reversed(_applied(connection)), None))


def _in_transaction(
    url: str, work: Callable[[sa.Connection], R], *, busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> R:
    if is_postgres(url):
        from holdfast_store.db import postgres_migration  # noqa: PLC0415 - it needs its driver

        return postgres_migration.in_transaction(url, work, patience_ms=busy_timeout_ms)
    path = sqlite_path(url)
    engine = migration_engine(path, busy_timeout_ms=busy_timeout_ms)
    try:
        with engine.begin() as connection:
            return work(connection)
    except sa.exc.DBAPIError as error:
        raise sqlite_errors.meaning_of(error.orig or error, place=str(path)) from error
    finally:
        engine.dispose()


def _applied(connection: sa.Connection) -> dict[str, str]:
    if not sa.inspect(connection).has_table(schema_revisions.name):
        return {}
    revisions = sa.select(schema_revisions.c.revision, schema_revisions.c.checksum)
    rows = connection.execute(revisions.order_by(schema_revisions.c.revision))
    return {revision: checksum for revision, checksum in rows}  # noqa: C416 - rows are no pairs


def _upgrade(connection: sa.Connection, folder: Path) -> None:
    # Here, because a store whose tables are up to date, as they nearly always are, starts without.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["checksums"] = known_revisions(folder)
    command.upgrade(config, "head")
