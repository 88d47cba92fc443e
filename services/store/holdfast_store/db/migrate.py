"""Bring a database's tables up to this version, beside the stores that use them.

By default only what expands runs: a store of the version before goes on, and may be started again.
What contracts runs when it is asked for, after the last store of an older version has ended.

On SQLite all that is missing runs in one transaction. On PostgreSQL each migration has one of its
own, so that none holds its locks for longer than it needs; those that build indexes run outside of
transactions and can be repeated. Whatever is recorded has run completely: a killed `migrate` is
simply run again.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import sqlalchemy as sa

from holdfast_store.db.dialects import migration_engine
from holdfast_store.db.opening import is_postgres, sqlite_path
from holdfast_store.db.ownership import Ownership
from holdfast_store.db.revisions import (
    MIGRATIONS,
    History,
    Migration,
    Outlook,
    check_history,
)
from holdfast_store.db.sqlite import errors as sqlite_errors
from holdfast_store.db.steps import Steps
from holdfast_store.db.tables import schema_floors, schema_revisions

R = TypeVar("R")

BUSY_TIMEOUT_MS = 30_000
"""How long to wait for another process that migrates or writes."""


def migrate(
    url: str,
    *,
    contract: bool = False,
    folder: Path = MIGRATIONS,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    told: Callable[[Migration, float], None] = lambda _migration, _seconds: None,
) -> str | None:
    """Run the migrations that are missing; answer the newest revision that the database has.

    Creates the file of a SQLite database, not its folder, and no database on a server. Two
    processes may call this at once: one waits for the other, no longer than `busy_timeout_ms`.
    `told` hears of each migration that ran and of the seconds that it took. Raises `SchemaAhead`,
    `SchemaInUse`, `SchemaTampered` or another `StorageError`; what did not run left no trace.
    """

    def work(steps: Steps) -> str | None:
        missing = steps.one(lambda c: _outlook(c, folder))
        # On a new database no older version can have left anything that is to be taken away.
        for each in missing.wanted(contract=contract or missing.newest is None):
            started = time.monotonic()
            _run(steps, each)
            told(each, time.monotonic() - started)
        return steps.one(_history).newest

    with _owned(url, patience_s=busy_timeout_ms / 1000) if contract else _free():
        return _with_steps(url, work, busy_timeout_ms=busy_timeout_ms)


def outlook(url: str, *, folder: Path = MIGRATIONS) -> Outlook:
    """Say what is missing, and change nothing."""
    if not is_postgres(url) and not sqlite_path(url).exists():  # connecting would create it
        return _missing(History(applied={}), folder)
    return _with_steps(url, lambda steps: steps.one(lambda c: _outlook(c, folder)))


def current_revision(url: str) -> str | None:
    """Name the newest revision that ran on a database; `None` before the first."""
    return outlook(url).newest


# One migration


def _run(steps: Steps, migration: Migration) -> None:
    # Here, because a store whose tables are up to date, as they nearly always are, starts without.
    from alembic.operations import Operations  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    module = _load(migration)

    def change(connection: sa.Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            module.upgrade()

    def whole(connection: sa.Connection) -> None:
        if migration.needs is not None:
            steps.check_nobody_needs(connection, migration)
        change(connection)
        _record(connection, migration)

    if getattr(module, "beside_writers", False):
        steps.outside(change)
        steps.one(lambda connection: _record(connection, migration))
    else:
        steps.one(whole)


def _load(migration: Migration) -> ModuleType:
    name = f"holdfast_store_migration_{migration.revision}"
    spec = importlib.util.spec_from_file_location(name, migration.path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _record(connection: sa.Connection, migration: Migration) -> None:
    revision, needs = migration.revision, migration.needs
    values = {"revision": revision, "checksum": migration.checksum}
    connection.execute(sa.insert(schema_revisions).values(values))
    if needs is not None:
        connection.execute(sa.insert(schema_floors).values(revision=revision, needs=needs))


# What ran


def _outlook(connection: sa.Connection, folder: Path) -> Outlook:
    return _missing(_history(connection), folder)


def _missing(history: History, folder: Path) -> Outlook:
    missing = check_history(history, folder)
    return Outlook(
        newest=history.newest,
        expanding=[each for each in missing if each.needs is None],
        contracting=[each for each in missing if each.needs is not None],
    )


def _history(connection: sa.Connection) -> History:
    inspector = sa.inspect(connection)
    floor = None
    if not inspector.has_table(schema_revisions.name):
        return History(applied={})
    rows: Sequence[Any] = connection.execute(
        sa.select(schema_revisions.c.revision, schema_revisions.c.checksum).order_by(
            schema_revisions.c.revision
        )
    ).all()
    if inspector.has_table(schema_floors.name):
        floor = connection.execute(sa.select(sa.func.max(schema_floors.c.needs))).scalar()
    return History(applied={row[0]: row[1] for row in rows}, floor=floor)


# The database


def _with_steps(
    url: str, work: Callable[[Steps], R], *, busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> R:
    if is_postgres(url):
        # It needs a driver that stores on SQLite do without.
        from holdfast_store.db.postgres import migration as on_postgres  # noqa: PLC0415

        return on_postgres.alone(url, work, patience_ms=busy_timeout_ms)
    path = sqlite_path(url)
    engine = migration_engine(path, busy_timeout_ms=busy_timeout_ms)
    try:
        with engine.begin() as connection:
            return work(_InOneTransaction(connection))
    except sa.exc.DBAPIError as error:
        raise sqlite_errors.meaning_of(error.orig or error, place=str(path)) from error
    finally:
        engine.dispose()


class _InOneTransaction:
    """The steps of a SQLite file: everything together, under its one write lock."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def one(self, work: Callable[[sa.Connection], R]) -> R:
        return work(self._connection)

    def outside(self, work: Callable[[sa.Connection], R]) -> R:
        return work(self._connection)

    def check_nobody_needs(self, connection: sa.Connection, migration: Migration) -> None:
        """Leave it to the ownership of the file, which no store has meanwhile."""


@contextmanager
def _owned(url: str, *, patience_s: float) -> Iterator[None]:
    """Keep every store away from a file; those of a server are asked for one by one."""
    if is_postgres(url) or not sqlite_path(url).exists():
        yield
        return
    ownership = Ownership(sqlite_path(url))
    ownership.claim(patience_s=patience_s)
    try:
        yield
    finally:
        ownership.release()


@contextmanager
def _free() -> Iterator[None]:
    yield
