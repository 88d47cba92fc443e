"""A storage that answers by the database's clock, as in production, with little patience."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from holdfast_store.db.postgres.connections import Bounds
from holdfast_store.db.postgres.storage import PostgresStorage
from tests.integration.postgres import Server, running_server
from tests.integration.store_postgres.cutting import Cutter

IMPATIENT = Bounds(lock_ms=300, idle_in_transaction_ms=60_000)


@pytest.fixture
async def storage(postgres_url: str) -> AsyncIterator[PostgresStorage]:
    """Open an empty storage."""
    storage = PostgresStorage(postgres_url, bounds=IMPATIENT)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture(scope="module")
def own_server(postgres_server: Server) -> Iterator[Server]:
    """Run a server that a test may kill, beside the one of all tests."""
    with running_server() as server:
        yield server


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """A storage whose connections go through a proxy."""

    storage: PostgresStorage
    cutter: Cutter
    url: str


@pytest.fixture
async def wired(postgres_server: Server, postgres_url: str) -> AsyncIterator[Wired]:
    """Open an empty storage behind a proxy that can cut its connections."""
    with TemporaryDirectory(prefix="holdfast-cut-") as folder:
        async with Cutter(Path(folder), server=postgres_server.folder) as cutter:
            url = postgres_url.replace(str(postgres_server.folder), folder)
            storage = PostgresStorage(url, bounds=IMPATIENT, doubt_s=3.0)
            await storage.open()
            yield Wired(storage=storage, cutter=cutter, url=postgres_url)
            await storage.close()
