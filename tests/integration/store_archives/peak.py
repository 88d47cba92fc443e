"""Judge a database in a process of its own and print the peak of its memory, in bytes.

`python -m tests.integration.store_archives.peak FILE NOW_MS`. In the process of all tests, what
others left behind decides when garbage is collected.
"""

import asyncio
import sys
import tracemalloc
from pathlib import Path

from holdfast.core.profile import DEFAULT_PROFILE
from holdfast_store.archives.audit import Audit
from holdfast_store.db.sqlite.archive import SqliteArchive


async def judge(path: Path, *, now_ms: int) -> None:
    """Find nothing wrong, in small chunks."""
    async with SqliteArchive(path, chunk_rows=50).snapshot() as snapshot:
        audit = Audit(snapshot, now_ms=now_ms, profile=DEFAULT_PROFILE)
        await audit.run()
    assert audit.broken() == []


if __name__ == "__main__":
    file, now_ms = Path(sys.argv[1]), int(sys.argv[2])
    asyncio.run(judge(file, now_ms=now_ms))  # what is made once is made
    tracemalloc.start()
    asyncio.run(judge(file, now_ms=now_ms))
    print(tracemalloc.get_traced_memory()[1])  # noqa: T201 - what the test reads
