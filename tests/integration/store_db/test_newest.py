"""What a SQLite file remembers of time: whoever opens it next begins there."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.working_set import Changes
from holdfast_store.clock import Clock
from holdfast_store.db.sqlite.archive import SqliteArchive
from holdfast_store.db.sqlite.newest import AHEAD_MS
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.storage import Plan
from tests.integration.store_db.records import promise

USED_MS = 5_000_000
EARLY_MS = 1_000
FAR_AHEAD_MS = 4_000_000_000_000


def at_rest(now_ms: int) -> Clock:
    """Make a clock on which no time passes."""
    return Clock(wall_ns=lambda: now_ms * 1_000_000, monotonic_ns=lambda: 0)


async def commit(storage: SqliteStorage, plan: Plan, *, now_ms: int, **changes: Any) -> None:
    async with storage.transaction() as transaction:
        await transaction.load(plan, now_ms=now_ms)
        await transaction.commit(Changes(**changes), preload_of=(), preload_bytes_max=0)


async def create(storage: SqliteStorage, name: str, *, now_ms: int, told: bool = False) -> None:
    created = promise(name, timeout_at_ms=2 * USED_MS, created_at_ms=now_ms)
    await commit(storage, Plan(told=told), now_ms=now_ms, promises_created=[created])


async def begun(path: Path) -> int:
    """Open a file on a machine whose clock is early; say when the store would begin."""
    storage = SqliteStorage(path, clock=at_rest(EARLY_MS))
    await storage.open()
    await storage.close()
    return storage.clock()


def killed(path: Path, folder: Path) -> Path:
    """Copy what a killed process leaves behind."""
    for each in path.parent.glob(f"{path.name}*"):
        shutil.copy(each, folder / each.name)
    return folder / path.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "killed"
    folder.mkdir()
    return folder


async def test_a_killed_store_is_followed_from_its_newest_instant_on(
    sqlite: SqliteStorage, sqlite_file: Path, folder: Path
) -> None:
    for now_ms in range(USED_MS, USED_MS + 3 * AHEAD_MS, AHEAD_MS // 2):
        await create(sqlite, str(now_ms), now_ms=now_ms)

        assert now_ms <= await begun(killed(sqlite_file, folder)) <= now_ms + AHEAD_MS


async def test_an_end_in_order_leaves_exactly_what_was_used(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    await create(sqlite, "p", now_ms=USED_MS)
    await sqlite.close()

    assert await begun(sqlite_file) == USED_MS


async def test_batches_of_one_moment_write_it_down_once(sqlite: SqliteStorage) -> None:
    texts: list[str] = []
    sqlite.on_statement = texts.append

    for number in range(AHEAD_MS):
        await create(sqlite, str(number), now_ms=USED_MS + number)

    assert sum("writers" in text for text in texts) == 1


async def test_a_read_that_tells_of_a_deadline_is_remembered(
    sqlite: SqliteStorage, sqlite_file: Path, folder: Path
) -> None:
    """The promise was told to be over: no later answer may say that it is pending."""
    await create(sqlite, "p", now_ms=USED_MS)
    plan = Plan(ids={"p"})

    await commit(sqlite, plan, now_ms=2 * USED_MS - 1)
    assert await begun(killed(sqlite_file, folder)) < 2 * USED_MS - 1, "reads write nothing"
    await commit(sqlite, plan, now_ms=2 * USED_MS)

    assert await begun(killed(sqlite_file, folder)) >= 2 * USED_MS


async def test_instants_that_a_caller_names_are_not_remembered(
    sqlite: SqliteStorage, sqlite_file: Path, folder: Path
) -> None:
    await create(sqlite, "p", now_ms=USED_MS, told=True)

    assert await begun(killed(sqlite_file, folder)) == EARLY_MS


async def test_what_was_not_committed_is_not_remembered(
    sqlite: SqliteStorage, sqlite_file: Path, folder: Path
) -> None:
    """The next transaction has to write it down, too."""
    await create(sqlite, "p", now_ms=USED_MS)
    with pytest.raises(Exception, match="exists already"):
        await create(sqlite, "p", now_ms=2 * USED_MS)
    await create(sqlite, "q", now_ms=2 * USED_MS)

    assert await begun(killed(sqlite_file, folder)) >= 2 * USED_MS


async def test_a_check_finds_nothing_in_its_future_when_the_clock_was_set_back_since(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    await create(sqlite, "p", now_ms=FAR_AHEAD_MS)

    async with SqliteArchive(sqlite_file).snapshot() as snapshot:
        assert snapshot.now_ms >= FAR_AHEAD_MS
