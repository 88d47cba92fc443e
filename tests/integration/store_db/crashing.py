"""A process that writes one batch and dies at a chosen moment; run by `test_crashes`."""

import asyncio
import os
import sys

from holdfast_store.db.sqlite.storage import SqliteStorage
from tests.integration.store_db.records import leased, save, targeted

DIED = 86
WRITTEN = [f"p{n}" for n in range(50)]


async def main(path: str, moment: str) -> None:
    """Write and die: before the commit, or when it has been answered."""
    storage = SqliteStorage(path)
    await storage.open()

    def die_at_commit(text: str) -> None:
        if text == "COMMIT":
            os._exit(DIED)

    if moment == "before":
        storage.on_statement = die_at_commit
    await save(
        storage,
        promises_created=[targeted(i) for i in WRITTEN],
        tasks_created=[leased(i, pid="p", lease_at_ms=9) for i in WRITTEN],
        listeners_added=[(i, "http://l") for i in WRITTEN],
    )
    os._exit(DIED)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
