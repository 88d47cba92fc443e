"""A process that fires a schedule and is killed at a chosen point; run by `test_schedule_kills`."""

import asyncio
import os
import signal
import sys
from itertools import count

from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.engine import Engine
from holdfast_store.storages import open_storage


def die(_: str = "") -> None:
    """Die as a process does that is out of luck: nothing is flushed, nothing is said."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, point: str, at_ms: int) -> None:
    """Fire what is due, and die at a point of the transaction that does it, or at a statement."""
    storage = open_storage(url)
    assert isinstance(storage, SqliteStorage | PostgresStorage)
    engine = Engine(storage, reached=lambda reached: die() if reached == point else None)
    await storage.open()
    if point.isdigit():
        numbers = count()
        storage.on_statement = lambda _: die() if next(numbers) == int(point) else None
    await engine.firing.fire_due(at_ms=at_ms)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
