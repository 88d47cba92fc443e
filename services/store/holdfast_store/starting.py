"""Begin to use a database: at once, or as soon as its server is there.

A store and its database may start in any order, after the power came back for example. Whoever ends
because the other one is not there yet is started again after pauses that grow to minutes, long
after the database has come. What waiting cannot mend ends the start: a refused password, an address
that is none, tables of another version.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import random
from typing import Final

from holdfast_chassis.lifecycle import Shutdown
from holdfast_chassis.logs import get_logger
from holdfast_store.storage import Storage, StorageRefused, StorageUnavailable, TransactionAborted

log = get_logger(__name__)

PAUSE_S_MIN: Final = 0.2
PAUSE_S_MAX: Final = 3.0
"""Pauses between attempts, each twice the one before but for a part that chance takes off: many
stores must not come to a database that has just started all at once."""

SAY_S: Final = 5.0
"""Least pause between two lines of the log that say the same."""


async def open_when_there(
    storage: Storage, shutdown: Shutdown, *, awaits: Callable[[str], Awaitable[None]]
) -> bool:
    """Open a storage on a server; answer `False` when the process shall stop before that.

    `awaits` is told each time why it is not there. Raises `StorageRefused`, `SchemaMismatch` or
    another `StorageError` that time does not mend.
    """
    opening = asyncio.create_task(_open(storage, awaits), name="opening")
    asked = asyncio.create_task(shutdown.wait(), name="shutdown")
    try:
        await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_over = opening.done()
        for task in (opening, asked):
            task.cancel()
        await asyncio.wait({opening, asked})
    if is_over:
        opening.result()
    return is_over


async def _open(storage: Storage, awaits: Callable[[str], Awaitable[None]]) -> None:
    clock = asyncio.get_running_loop().time
    began_at, say_at, pause_s = clock(), clock(), PAUSE_S_MIN
    while True:
        try:
            await storage.open()
        except StorageRefused:
            raise
        except (StorageUnavailable, TransactionAborted) as error:
            await awaits(str(error))
            if clock() >= say_at:
                log.warning("database_awaited", reason=str(error))
                say_at = clock() + SAY_S
            await asyncio.sleep(pause_s * (0.5 + random() / 2))  # noqa: S311 - no secret
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        else:
            if say_at > began_at:
                log.info("database_found", after_s=round(clock() - began_at, 1))
            return
