"""The databases that a store is measured on, and how often each can commit."""

import platform
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final, Protocol

import psycopg

from tests.bench.rates import Rate
from tests.integration.postgres import Server, running_server

MEMORY, SQLITE, POSTGRESQL = "memory", "sqlite", "postgresql"
NAMES: Final = (SQLITE, POSTGRESQL)

ROW_BYTES: Final = 200  # about what one settled step adds to the store's tables

_SETTINGS: Final = {
    "max_connections": "200",  # peers hold pools
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}


class Database(Protocol):
    """Makes empty databases for stores."""

    name: str

    def create(self, folder: Path, name: str) -> str:
        """Make a database with the store's tables; answer its address."""

    def commit_rate(self, folder: Path, *, seconds: float) -> Rate | None:
        """Count transactions of one insert each, as durable as the store's, if there are any."""

    def pid(self) -> int | None:
        """Tell the server's process, if there is one."""

    def version(self) -> str:
        """Tell the version of what stores."""


class Memory:
    """No database: the rules alone."""

    name = MEMORY

    def create(self, folder: Path, name: str) -> str:
        """Name it."""
        return "memory:"

    def commit_rate(self, folder: Path, *, seconds: float) -> Rate | None:
        """Nothing is committed."""
        return None

    def pid(self) -> int | None:
        """No server."""
        return None

    def version(self) -> str:
        """Tell the version of what stores: Python's own dictionaries."""
        return platform.python_version()


class Sqlite:
    """A file beside the store, which makes the tables itself."""

    name = SQLITE

    def create(self, folder: Path, name: str) -> str:
        """Name a file."""
        return f"sqlite:///{folder / name}.db"

    def commit_rate(self, folder: Path, *, seconds: float) -> Rate:
        """Use the write-ahead log, flushed at each commit."""
        with closing(sqlite3.connect(folder / "commits.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, data BLOB)")
            row = (bytes(ROW_BYTES),)
            count, started = 0, perf_counter()
            while (elapsed := perf_counter() - started) < seconds:
                connection.execute("INSERT INTO row (data) VALUES (?)", row)
                count += 1
        return Rate(count, elapsed)

    def pid(self) -> int | None:
        """No server."""
        return None

    def version(self) -> str:
        """Tell the library's version."""
        return sqlite3.sqlite_version


class Postgresql:
    """Databases of one server, which flushes every commit."""

    name = POSTGRESQL

    def __init__(self, server: Server) -> None:
        self._server = server

    def create(self, folder: Path, name: str) -> str:
        """Copy a migrated database."""
        return self._server.create_database()

    def create_empty(self) -> str:
        """Make a database without tables, for peers."""
        return self._server.create_database(template="template1")

    def commit_rate(self, folder: Path, *, seconds: float) -> Rate:
        """Use one connection that commits after each row."""
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS commits (id bigserial PRIMARY KEY, data bytea)"
            )
            row = (bytes(ROW_BYTES),)
            count, started = 0, perf_counter()
            while (elapsed := perf_counter() - started) < seconds:
                connection.execute("INSERT INTO commits (data) VALUES (%s)", row)
                count += 1
        return Rate(count, elapsed)

    def pid(self) -> int | None:
        """Read it where the server itself keeps it."""
        return int((self._server.folder / "data" / "postmaster.pid").read_text().split()[0])

    def version(self) -> str:
        """Ask the server."""
        with psycopg.connect(self._server.url("postgres")) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        assert row is not None
        return str(row[0])


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Run a server with room for a benchmark."""
    with running_server() as server:
        for name, value in _SETTINGS.items():
            server.set(name, value)
        server.stop()
        server.start()
        yield Postgresql(server)
