"""A process may die at any instant: a batch is there as a whole, or not at all."""

import asyncio
import sys
from pathlib import Path

import pytest

from holdfast_store.db.sqlite.storage import SqliteStorage
from tests.integration.store_db.crashing import DIED, WRITTEN
from tests.integration.store_db.records import promise, save, stored

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("moment", "count"), [("before", 0), ("after", len(WRITTEN))])
async def test_a_crash_at_the_commit(sqlite_file: Path, moment: str, count: int) -> None:
    arguments = ("-m", "tests.integration.store_db.crashing", str(sqlite_file), moment)
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    code = await process.wait()

    storage = SqliteStorage(sqlite_file)
    await storage.open()
    rows = await stored(storage, *WRITTEN)
    await save(storage, promises_created=[promise("next")])
    await storage.close()

    assert code == DIED
    assert len(list(rows.promises())) == count
    assert len(list(rows.tasks())) == count
    assert sum(len(rows.listeners(i)) for i in WRITTEN) == count
