"""Storages for the suite: what holds for one must hold for the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast_store.db.migrate import migrate
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.storage import Storage


@pytest.fixture
async def memory() -> AsyncIterator[MemoryStorage]:
    """Open an empty storage in memory."""
    storage = MemoryStorage()
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """Make a migrated, empty database file."""
    path = tmp_path / "holdfast.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
async def sqlite(sqlite_file: Path) -> AsyncIterator[SqliteStorage]:
    """Open an empty SQLite storage; it has a short patience with other processes."""
    storage = SqliteStorage(sqlite_file, busy_timeout_ms=50)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[PostgresStorage]:
    """Open an empty PostgreSQL storage, which lives at the instants that tests name."""
    storage = PostgresStorage(postgres_url, tells_time=False)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def storage(request: pytest.FixtureRequest) -> Storage:
    """Take any kind."""
    chosen: Storage = request.getfixturevalue(request.param)
    return chosen
