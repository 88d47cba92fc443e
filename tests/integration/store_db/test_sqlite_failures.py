"""What goes wrong with a file, what the engine is told, and that the storage recovers."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.core.records import Callback, PromiseState, Unblock, Value
from holdfast_store.db.errors import SchemaBehind
from holdfast_store.db.migrate import migrate
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.storage import (
    BatchRejected,
    Plan,
    StorageUnavailable,
    TransactionAborted,
)
from tests.integration.store_db.records import (
    load,
    promise,
    save,
    save_tasks,
    stored,
    taken_for,
    task,
)

ROOT = Path(__file__).parents[3]
NOBODY = 65_534


async def on_writer(storage: SqliteStorage, text: str) -> object:
    """Run a statement on the writing connection."""

    def execute() -> object:
        assert storage._writer._connection is not None
        return storage._writer._connection.execute(text).fetchone()

    return await storage.on_writer(execute)


async def test_a_full_disk_makes_the_storage_unavailable_until_there_is_room(
    sqlite: SqliteStorage,
) -> None:
    large = promise("large", value=Value(data=b"x" * 100_000))
    await on_writer(sqlite, "PRAGMA max_page_count = 1")  # it never goes below what there is

    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="FULL"):
            await save(sqlite, promises_created=[promise("small"), large])

    await on_writer(sqlite, "PRAGMA max_page_count = 1000000")
    assert list((await stored(sqlite, "small", "large")).promises()) == []
    await save(sqlite, promises_created=[large])
    assert (await stored(sqlite, "large")).promise("large") == large


def test_a_commit_that_fails_half_way_has_an_unknown_outcome(sqlite_file: Path) -> None:
    """The write-ahead log may hold all of it: who reads the file after a crash may find it."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.store_db.failing_commit", str(sqlite_file)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    first, *others, found = ran.stdout.split("\n")[:-1]
    assert first == "CommitOutcomeUnknown"
    assert set(others) <= {"CommitOutcomeUnknown", "StorageUnavailable"}
    assert len(others) == 2
    assert found == "after before"


@pytest.fixture
def read_only_file() -> Iterator[Path]:
    """Make a migrated file that this process may not write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "holdfast.db"
        migrate(f"sqlite:///{path}")
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield path
        finally:
            if root:
                os.seteuid(0)
            Path(folder).chmod(0o755)


async def test_a_read_only_file_is_refused_when_it_is_opened(read_only_file: Path) -> None:
    storage = SqliteStorage(read_only_file)

    with pytest.raises(StorageUnavailable):
        await storage.open()

    with pytest.raises(StorageUnavailable, match="not open"):
        await storage.ping()


async def test_a_file_that_became_read_only_can_be_read_but_not_written(
    sqlite: SqliteStorage,
) -> None:
    await save(sqlite, promises_created=[promise("old")])
    await on_writer(sqlite, "PRAGMA query_only = ON")

    with pytest.raises(StorageUnavailable, match="READONLY"):
        await save(sqlite, promises_created=[promise("new")])

    await sqlite.ping()
    # The connection was replaced, because a new one may be allowed to write.
    await save(sqlite, promises_created=[promise("new")])
    assert {p.id for p in (await stored(sqlite, "old", "new")).promises()} == {"old", "new"}


async def test_another_process_that_writes_aborts_the_transaction(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(TransactionAborted):
        await save(sqlite, promises_created=[promise("p")])
    await sqlite.ping()

    other.execute("ROLLBACK")
    other.close()
    await save(sqlite, promises_created=[promise("p")])


async def test_from_the_first_read_on_nobody_else_writes(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    """Or what a batch was decided on might be outdated when its changes are saved."""
    other = sqlite3.connect(sqlite_file, isolation_level=None, timeout=0)

    async with sqlite.transaction() as transaction:
        await transaction.load(Plan(ids={"p"}), now_ms=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    other.execute("BEGIN IMMEDIATE")
    other.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "letters.db"
    path.write_bytes(b"these are letters" * 1000)

    with pytest.raises(StorageUnavailable, match="NOTADB"):
        await SqliteStorage(path).open()
    with pytest.raises(StorageUnavailable, match="NOTADB"):
        migrate(f"sqlite:///{path}")


async def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"

    with pytest.raises(SchemaBehind, match="holdfast-store migrate"):
        await SqliteStorage(path).open()

    assert not path.exists()


async def test_a_damaged_row_rejects_only_the_batches_that_load_it(
    sqlite: SqliteStorage, sqlite_file: Path
) -> None:
    await save(sqlite, promises_created=[promise("good"), promise("bad"), promise("worse")])
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("UPDATE promises SET state = 'odd' WHERE id = 'bad'")
    other.execute("UPDATE promises SET tags = '{' WHERE id = 'worse'")
    other.close()

    for promise_id in ("bad", "worse"):
        with pytest.raises(BatchRejected):
            await load(sqlite, "good", promise_id)

    assert (await stored(sqlite, "good")).promise("good") == promise("good")


async def test_a_number_that_no_column_holds_rejects_the_batch(sqlite: SqliteStorage) -> None:
    with pytest.raises(BatchRejected):
        await save(sqlite, promises_created=[promise("ok"), promise("p", timeout_at_ms=2**63)])

    assert (await stored(sqlite, "ok")).promise("ok") is None


async def test_a_value_that_the_driver_does_not_know_rejects_the_batch(
    sqlite: SqliteStorage,
) -> None:
    with pytest.raises(BatchRejected):
        await save(sqlite, promises_created=[promise("p", timeout_at_ms=object())])


async def test_an_obligation_of_a_task_that_does_not_exist_rejects_the_batch(
    sqlite: SqliteStorage,
) -> None:
    with pytest.raises(BatchRejected, match="FOREIGN KEY"):
        await save(
            sqlite,
            promises_created=[promise("p")],
            callbacks_saved=[Callback(awaited="p", awaiter="nobody")],
        )

    assert (await stored(sqlite, "p")).promise("p") is None


async def test_a_connection_that_broke_is_replaced(sqlite: SqliteStorage) -> None:
    await save(sqlite, promises_created=[promise("p")])
    assert sqlite._writer._connection is not None
    await sqlite.on_writer(sqlite._writer._connection.close)

    with pytest.raises(BatchRejected):
        await stored(sqlite, "p")

    assert (await stored(sqlite, "p")).promise("p") == promise("p")


async def test_an_error_of_the_program_undoes_the_transaction_too(sqlite: SqliteStorage) -> None:
    """The next one would go on with what is half done, and commit it."""
    settled = promise("p", state=PromiseState.RESOLVED)
    message = Unblock(promise_id="p", address="http://a", enqueued_at_ms=1)
    await save(sqlite, promises_created=[settled], unblocks=[message])

    def fail_after_deleting(text: str) -> None:
        assert not text.startswith("SELECT promises.id")

    sqlite.on_statement = fail_after_deleting
    with pytest.raises(AssertionError):
        await taken_for(sqlite, "http://a")
    sqlite.on_statement = None

    await save(sqlite)
    assert await taken_for(sqlite, "http://a") == [("http://a", settled)]


async def test_a_reader_that_failed_is_replaced(sqlite: SqliteStorage, sqlite_file: Path) -> None:
    await sqlite.ping()
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("ALTER TABLE schema_revisions RENAME TO hidden")
    other.execute("CREATE TABLE schema_revisions (id)")

    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await sqlite.ping()

    other.execute("DROP TABLE schema_revisions")
    other.execute("ALTER TABLE hidden RENAME TO schema_revisions")
    other.close()
    await sqlite.ping()


async def test_a_clean_close_leaves_one_file_with_everything(sqlite_file: Path) -> None:
    storage = SqliteStorage(sqlite_file)
    await storage.open()
    await save_tasks(storage, task("t"))
    await storage.queue_counts(now_ms=1)
    files = [sqlite_file, Path(f"{sqlite_file}-wal"), Path(f"{sqlite_file}-shm")]
    while_open = [path.exists() for path in files]

    await storage.close()

    assert while_open == [True, True, True]
    assert [path.exists() for path in files] == [True, False, False]
    again = SqliteStorage(sqlite_file)
    await again.open()
    assert (await stored(again, "t")).task("t") == task("t")
    await again.close()


async def test_a_close_empties_the_log_though_another_process_has_the_file_open(
    sqlite_file: Path,
) -> None:
    storage = SqliteStorage(sqlite_file)
    await storage.open()
    await save(storage, promises_created=[promise("p")])
    other = sqlite3.connect(sqlite_file)
    other.execute("SELECT count(*) FROM promises").fetchall()

    await storage.close()

    log = Path(f"{sqlite_file}-wal")
    assert log.stat().st_size == 0  # noqa: ASYNC240 - nothing else runs here
    other.close()


async def test_the_same_object_may_be_opened_again(sqlite_file: Path) -> None:
    storage = SqliteStorage(sqlite_file)
    await storage.open()
    await save(storage, promises_created=[promise("p")])
    await storage.close()
    await storage.close()

    await storage.open()

    assert (await stored(storage, "p")).promise("p") is not None
    await storage.close()


async def test_a_storage_that_is_not_open_says_so(sqlite_file: Path) -> None:
    storage = SqliteStorage(sqlite_file)

    for call in (
        storage.ping,
        storage.next_due_at_ms,
        storage.queued_groups,
        lambda: storage.queue_counts(now_ms=0),
        lambda: taken_for(storage, "http://a"),
        lambda: storage.drop_unblocks(before_ms=0),
        lambda: load(storage, "p"),
    ):
        with pytest.raises(StorageUnavailable, match="not open"):
            await call()


async def test_the_file_is_written_safely(sqlite: SqliteStorage) -> None:
    """What was answered survives a power failure: a log that is flushed at every commit."""
    await sqlite.ping()
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}

    found = {name: await on_writer(sqlite, f"PRAGMA {name}") for name in wanted}

    assert found == {name: (value,) for name, value in wanted.items()}
