"""A process whose file may not grow while it commits; run by `test_sqlite_failures`."""

import asyncio
import resource
import sys
from pathlib import Path

from holdfast.core.records import Value
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.storage import CommitOutcomeUnknown, StorageUnavailable
from tests.integration.store_db.records import promise, save, stored

ROOM_BYTES = 5_000


async def main(path: str) -> None:
    """Print what each attempt meant, and what is stored at the end."""
    storage = SqliteStorage(path)
    await storage.open()
    await save(storage, promises_created=[promise("before")])

    log = Path(f"{path}-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = log.stat().st_size + ROOM_BYTES  # noqa: ASYNC240 - nothing else runs here
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for attempt in range(3):
        try:
            large = promise(f"during{attempt}", value=Value(data=b"x" * 10 * ROOM_BYTES))
            await save(storage, promises_created=[large])
        except (CommitOutcomeUnknown, StorageUnavailable) as error:
            print(type(error).__name__)  # noqa: T201 - its test reads it
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    await save(storage, promises_created=[promise("after")])
    rows = await stored(storage, "before", "during0", "during1", "during2", "after")
    print(*sorted(p.id for p in rows.promises()))  # noqa: T201 - as above
    await storage.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
