"""Opening the application database: drivers, SQLite's ways, and migrations at start."""

from contextlib import AbstractContextManager
from importlib import resources
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

BUSY_MS = 30_000  # how long a SQLite writer waits for another one; a migration is the longest
MIGRATION_LOCK = 0x_48_46_44_42  # any number that no other program locks in the same database


_ONLY_READS = "holdfast_only_reads"


class DatabaseUnusable(Exception):
    """The database cannot be opened or migrated; the message is one sentence for the operator."""


def open_database(url: str, *, connections: int = 5) -> Engine:
    """Open an engine; at most `connections` are made, and nothing connects yet.

    Raises DatabaseUnusable when the URL is malformed or its driver is not installed.
    """
    try:
        parsed = _with_driver(make_url(url))
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed, connections=connections)
        return sqlalchemy.create_engine(
            parsed, pool_size=connections, max_overflow=0, pool_pre_ping=True
        )
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseUnusable(f"The database URL is not understood: {error}") from error
    except ModuleNotFoundError as error:
        raise DatabaseUnusable(
            f"The database URL needs the driver {error.name!r}, which is not installed here;"
            " this version ships with SQLite and PostgreSQL."
        ) from error


def migrate(engine: Engine) -> None:
    """Bring the tables up to date; safe when several processes start at the same moment.

    Raises DatabaseUnusable when the database cannot be reached, or is newer than this program.
    """
    config = Config()
    location = resources.files("holdfast_db") / "migrations"
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                lock = text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(lock, {"key": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseUnusable(
            f"The database is not one that this version can use: {error}"
        ) from error
    except DBAPIError as error:
        raise DatabaseUnusable(f"The database does not answer: {error.orig}") from error


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """Begin a transaction that only reads: it waits for no writer, and none waits for it."""
    return engine.execution_options(**{_ONLY_READS: True}).begin()


def _with_driver(url: URL) -> URL:
    """Name the driver where the URL leaves the choice to us."""
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    return url


def _open_sqlite(url: URL, *, connections: int) -> Engine:
    is_file = url.database not in {None, "", ":memory:"}
    engine = sqlalchemy.create_engine(
        url,
        poolclass=sqlalchemy.QueuePool,
        # Each connection to a database in memory would see a database of its own.
        pool_size=connections if is_file else 1,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # the driver's implicit transactions begin too late
        connection.execute("PRAGMA foreign_keys = ON")
        if is_file:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # A transaction that reads first and writes later could find that another one wrote in
        # between, and fail without waiting. Taking the write lock at once makes it wait instead.
        only_reads = connection.get_execution_options().get(_ONLY_READS, False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    return engine
