"""Every backend by its name, on an empty database."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from holdfast_store.storages import migrate
from tests.differential.backends import Core, stored
from tests.differential.pairing import Pair
from tests.differential.plays import Backend
from tests.differential.remote import remote

NAMES = ("core", "memory", "sqlite", "postgresql", "gRPC")


@asynccontextmanager
async def opened(
    name: str, pair: Pair, *, folder: Path, postgres: Callable[[], str]
) -> AsyncIterator[Backend]:
    """Open one; `postgres` makes a migrated database, and is called only where one is needed."""
    match name:
        case "core":
            yield Core(pair.product)
        case "gRPC":
            async with remote("memory:", pair.product) as served:
                yield served
        case _:
            with quick(folder) as place:
                async with stored(name, url_of(name, place, postgres), pair.product) as backend:
                    yield backend


def url_of(name: str, folder: Path, postgres: Callable[[], str]) -> str:
    if name == "postgresql":
        return hurried(postgres())
    if name == "memory":
        return "memory:"
    url = f"sqlite:///{folder / 'holdfast.db'}"
    migrate(url)
    return url


@contextmanager
def quick(folder: Path) -> Iterator[Path]:
    """Find a place for a file that need not wait for a disk: here nothing crashes."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else folder) as place:
        yield Path(place)


def hurried(url: str) -> str:
    """Let a database not wait for its disk: here nothing crashes."""
    with psycopg.connect(url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{database}" SET synchronous_commit = off')
    return url
