"""Readiness follows the database, and asks it rarely."""

import asyncio

from holdfast_store.engine import Engine
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.rpc.readiness import Readiness
from holdfast_store.storage import StorageUnavailable


class Sick(MemoryStorage):
    """A storage that can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        if self.away:
            raise StorageUnavailable("the disk is full")


async def test_it_follows_a_database_that_goes_away_and_comes_back() -> None:
    storage = Sick()
    changes: asyncio.Queue[bool] = asyncio.Queue()
    readiness = Readiness(Engine(storage), slow_poll_s=60, on_change=changes.put)
    assert "start" in readiness.reasons()
    watching = asyncio.create_task(readiness.watch())

    assert await changes.get()
    assert readiness.reasons() == {}
    storage.away = True
    readiness.doubt()
    assert not await changes.get()
    assert readiness.reasons() == {"database": "The database does not answer: the disk is full"}
    storage.away = False
    readiness.doubt()
    assert await changes.get()

    assert storage.pings == 3
    watching.cancel()


async def test_a_store_that_stops_is_unready_for_good() -> None:
    changes: asyncio.Queue[bool] = asyncio.Queue()
    readiness = Readiness(Engine(Sick()), slow_poll_s=60, on_change=changes.put)
    watching = asyncio.create_task(readiness.watch())
    await changes.get()

    readiness.stop()
    readiness.doubt()
    await watching

    assert readiness.reasons() == {"stop": "The store is stopping."}
