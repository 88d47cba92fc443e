"""What goes wrong with a server, what the engine is told, and that the storage recovers."""

import asyncio
import random
from typing import Any

import psycopg
import pytest

from holdfast.core.records import Callback, Unblock, Value
from holdfast.core.working_set import Changes
from holdfast_store.db import statements
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.errors import UnsupportedDatabase
from holdfast_store.db.postgres import storage as postgres
from holdfast_store.db.postgres import writer as postgres_writer
from holdfast_store.db.postgres.connections import Bounds
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.storage import (
    BatchRejected,
    Plan,
    StorageError,
    StorageUnavailable,
    TransactionAborted,
)
from tests.integration.kill.processes import until
from tests.integration.postgres import Server, query
from tests.integration.store_db.records import (
    load,
    promise,
    save,
    stored,
    taken_for,
    targeted,
    task,
)

END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'holdfast-store' AND datname = current_database()"
)


LOCKED = "SELECT 1 FROM pg_locks WHERE relation = 'promises'::regclass"


@pytest.mark.parametrize(
    "changes",
    [
        {"promises_created": [promise("a\0b")]},
        {"promises_created": [promise("p", timeout_at_ms=2**63)]},
        {"promises_created": [promise("p", timeout_at_ms=object())]},
        {"promises_created": [promise("p")], "listeners_added": [("nobody", "http://l")]},
        {
            "promises_created": [promise("p")],
            "callbacks_saved": [Callback(awaited="p", awaiter="nobody")],
        },
        {"promises_created": [promise("p")], "resumes_added": [("nobody", "p")]},
    ],
    ids=["NUL", "number", "type", "listener", "callback", "resume"],
)
async def test_what_no_column_holds_rejects_the_batch_whole(
    storage: PostgresStorage, changes: dict[str, Any]
) -> None:
    """The engine halves the batch then, so that the neighbours of the culprit go through."""
    changes = changes | {"promises_created": [promise("good"), *changes["promises_created"]]}

    with pytest.raises(BatchRejected):
        await save(storage, **changes)

    assert (await stored(storage, "good")).promise("good") is None
    await save(storage, promises_created=[promise("good")])


async def test_an_id_with_a_zero_byte_is_asked_for_in_vain(storage: PostgresStorage) -> None:
    with pytest.raises(BatchRejected):
        await load(storage, "a\0b")

    await storage.ping()
    assert (await stored(storage, "p")).promise("p") is None


async def test_headers_may_hold_a_zero_byte(storage: PostgresStorage) -> None:
    made = promise("p", param=Value(data=b"\0", headers={"a\0": "\0"}))

    await save(storage, promises_created=[made])

    assert (await stored(storage, "p")).promise("p") == made


async def test_the_longest_keys_fit_into_every_index(storage: PostgresStorage) -> None:
    """An index of PostgreSQL takes 2 704 bytes, even of text that cannot be compressed."""
    long = [random.Random(n).randbytes(512).hex() for n in (1, 2)]
    assert [len(each) for each in long] == [1024, 1024]
    first, second = long
    await save(
        storage,
        promises_created=[targeted(first, branch=second, parent=second), targeted(second)],
        tasks_created=[
            task(first, group="g" * 1000, dispatch_at_ms=1, queued_at_ms=1),
            task(second),
        ],
        callbacks_saved=[Callback(awaited=first, awaiter=second)],
        listeners_added=[(first, "http://" + second[7:])],
        resumes_added=[(first, second)],
    )

    rows = await stored(storage, first)
    assert {p.id for p in rows.promises()} == set(long)


async def test_a_server_that_is_gone_makes_the_storage_unavailable_until_it_is_back(
    own_server: Server,
) -> None:
    storage = PostgresStorage(own_server.create_database())
    await storage.open()
    await save(storage, promises_created=[promise("before")])

    own_server.crash()
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await save(storage, promises_created=[promise("during")])
        with pytest.raises(StorageUnavailable):
            await storage.ping()
    own_server.start()

    await _until_it_saves(storage, "after")
    await storage.ping()
    rows = await stored(storage, "before", "during", "after")
    assert {p.id for p in rows.promises()} == {"before", "after"}
    await storage.close()


async def test_a_server_that_is_gone_for_long_is_still_just_unavailable(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses stop growing: whoever doubled them for ever would fail by a number too large."""
    monkeypatch.setattr(postgres_writer, "PAUSE_MAX_S", 0.0)
    storage = PostgresStorage(own_server.create_database())
    await storage.open()

    own_server.crash()
    for _ in range(1_100):
        with pytest.raises(StorageUnavailable):
            await save(storage, promises_created=[promise("p")])
    own_server.start()

    await _until_it_saves(storage, "p")
    await storage.close()


async def _until_it_saves(storage: PostgresStorage, promise_id: str) -> None:
    """While it waits before it connects again, a storage refuses at once."""
    async with asyncio.timeout(20):
        while True:
            try:
                await save(storage, promises_created=[promise(promise_id)])
            except StorageUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def test_a_server_that_was_restarted_while_nobody_asked_is_not_noticed(
    own_server: Server,
) -> None:
    storage = PostgresStorage(own_server.create_database())
    await storage.open()
    await storage.ping()

    own_server.stop()
    own_server.start()

    await save(storage, promises_created=[promise("p")])
    await storage.ping()
    await storage.close()


async def test_connections_that_broke_in_a_transaction_are_replaced(
    storage: PostgresStorage, postgres_url: str
) -> None:
    async def lose_the_connection() -> None:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(Plan(ids={"p"}), now_ms=0)
            query(postgres_url, END_ALL)
            changes = loaded.working_set.changes()
            changes.promises_created.append(promise("p"))
            await transaction.commit(changes, preload_of=[], preload_bytes_max=0)

    with pytest.raises(StorageUnavailable):
        await lose_the_connection()

    assert (await stored(storage, "p")).promise("p") is None
    await save(storage, promises_created=[promise("p")])


async def test_a_transaction_is_not_carried_on_without_its_locks(
    storage: PostgresStorage, postgres_url: str
) -> None:
    """Its connection was ended between load and commit, and somebody else was quicker.

    What it decided holds only for the rows as they were; a new transaction must not write it.
    """
    storage.is_alone = False  # or else it would lock at its end
    await save(storage, promises_created=[targeted("t")], tasks_created=[task("t", version=1)])

    async def carry_on() -> None:
        async with storage.transaction() as transaction:
            await transaction.load(Plan(ids={"t"}), now_ms=0)
            assert storage._lane is not None
            connection = storage._lane._writer._connection
            assert connection is not None
            driver_heard = asyncio.Event()
            connection.add_termination_listener(lambda _: driver_heard.set())
            query(postgres_url, END_ALL)
            await driver_heard.wait()
            query(postgres_url, "UPDATE tasks SET version = 7")
            changes = Changes(tasks_updated=[task("t", version=2)])
            await transaction.commit(changes, preload_of=[], preload_bytes_max=0)

    async with asyncio.timeout(20):
        with pytest.raises(TransactionAborted):
            await carry_on()

    assert (await stored(storage, "t")).task("t") == task("t", version=7)


async def test_readers_that_broke_are_replaced(storage: PostgresStorage, postgres_url: str) -> None:
    await storage.ping()

    query(postgres_url, END_ALL)

    async with asyncio.timeout(10):
        while True:
            try:
                await storage.ping()
            except StorageUnavailable:
                await asyncio.sleep(0)  # the driver has not heard of it yet
            else:
                break


async def test_messages_are_dropped_by_as_many_statements_as_it_takes(
    storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for a million of them would run into its time-out, each time again."""
    monkeypatch.setattr(postgres, "DROP_MAX", 3)
    messages = [Unblock(promise_id="p", address=f"http://{n}", enqueued_at_ms=n) for n in range(9)]
    await save(storage, promises_created=[promise("p")], unblocks=messages)
    statements: list[str] = []
    storage.on_statement = statements.append

    dropped = await storage.drop_unblocks(before_ms=8)

    assert (dropped, len(statements)) == (8, 3)
    assert await taken_for(storage, "http://7") == []
    assert await taken_for(storage, "http://8") == [("http://8", promise("p"))]


async def test_rows_that_another_transaction_keeps_abort_this_one(
    storage: PostgresStorage, postgres_url: str
) -> None:
    storage.is_alone = False  # or else it would lock at its end
    await save(storage, promises_created=[promise("p"), promise("q")])
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT id FROM promises WHERE id = 'p' FOR UPDATE")

        with pytest.raises(TransactionAborted):
            await load(storage, "p")
        assert (await stored(storage, "q")).promise("q") is not None

    assert (await stored(storage, "p")).promise("p") is not None


async def test_a_database_that_accepts_no_writes_is_unavailable(
    storage: PostgresStorage, postgres_server: Server
) -> None:
    """As a primary is, that has become a replica: the next connection finds the new one."""
    url = postgres_server.create_database()
    storage = PostgresStorage(url)
    await storage.open()
    await storage.ping()
    name = url.partition("@/")[2].partition("?")[0]
    query(
        postgres_server.url("postgres"),
        f"ALTER DATABASE {name} SET default_transaction_read_only = on",
    )
    query(url, END_ALL)

    for ask in (storage.ping, lambda: save(storage, promises_created=[promise("p")])):
        with pytest.raises(StorageUnavailable):
            await ask()

    await storage.close()


async def test_an_error_of_the_program_undoes_the_transaction_too(
    storage: PostgresStorage,
) -> None:
    """The next one would go on with what is half done, and commit it."""
    children = statements.build(Postgres()).children
    texts: list[str] = []

    def fail_after_writing(text: str) -> None:
        texts.append(text)
        assert text != children

    storage.on_statement = fail_after_writing
    changes = Changes(promises_created=[promise("p")])

    async def write() -> None:
        async with storage.transaction() as transaction:
            await transaction.load(Plan(ids={"p"}), now_ms=1)
            await transaction.commit(changes, preload_of=["p"], preload_bytes_max=1_000)

    with pytest.raises(AssertionError):
        await write()
    storage.on_statement = None

    assert "INSERT INTO promises" in texts[-3]
    assert texts[-1] == "ROLLBACK"

    assert (await stored(storage, "p")).promise("p") is None


async def test_a_damaged_row_rejects_only_the_batches_that_load_it(
    storage: PostgresStorage, postgres_url: str
) -> None:
    storage.is_alone = False  # or else it would know what it wrote
    await save(storage, promises_created=[promise("good"), promise("bad")])
    query(postgres_url, "UPDATE promises SET tags = '{' WHERE id = 'bad'")

    with pytest.raises(BatchRejected):
        await load(storage, "good", "bad")

    assert (await stored(storage, "good")).promise("good") == promise("good")


async def test_a_store_that_stands_still_gives_its_locks_up(postgres_url: str) -> None:
    slow = PostgresStorage(postgres_url, bounds=Bounds(idle_in_transaction_ms=50))
    await slow.open()
    slow.is_alone = False  # or else it would hold nothing meanwhile
    await save(slow, promises_created=[promise("p")])

    async def stand_still() -> None:
        async with slow.transaction() as transaction:
            loaded = await transaction.load(Plan(ids={"p"}), now_ms=0)
            await asyncio.to_thread(until, lambda: not query(postgres_url, LOCKED), "it was ended")
            changes = loaded.working_set.changes()
            changes.promises_created.append(promise("late"))
            await transaction.commit(changes, preload_of=[], preload_bytes_max=0)

    with pytest.raises((StorageUnavailable, TransactionAborted)):
        await stand_still()

    assert (await stored(slow, "late")).promise("late") is None
    await slow.close()


@pytest.mark.parametrize(
    ("url", "error", "sentence"),
    [
        (
            "postgresql://u:secret@127.0.0.1:1/db",
            StorageUnavailable,
            r"PostgreSQL at 127\.0\.0\.1:1/db",
        ),
        ("postgresql://u:secret@127.0.0.1:x/db", UnsupportedDatabase, "not understood"),
        ("postgresql://u:secret@/db?host=/nowhere", StorageUnavailable, "PostgreSQL at /db"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_without_the_password(
    url: str, error: type[StorageError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as refused:
        await PostgresStorage(url).open()

    assert "secret" not in str(refused.value)


async def test_a_database_that_does_not_exist_is_unavailable(postgres_server: Server) -> None:
    with pytest.raises(StorageUnavailable, match="does not exist"):
        await PostgresStorage(postgres_server.url("nothing")).open()


async def test_a_storage_that_is_not_open_says_so(postgres_url: str) -> None:
    storage = PostgresStorage(postgres_url)

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


async def test_commits_are_flushed_though_the_database_would_not_insist(
    postgres_server: Server,
) -> None:
    url = postgres_server.create_database()
    name = url.partition("@/")[2].partition("?")[0]
    query(postgres_server.url("postgres"), f"ALTER DATABASE {name} SET synchronous_commit = off")
    storage = PostgresStorage(url)
    await storage.open()

    assert storage._lane is not None
    session = await storage._lane._writer.current()
    [(found,)] = await session.fetch("SELECT current_setting('synchronous_commit')")

    assert found == "on"
    await storage.close()


async def test_of_several_hosts_the_one_that_accepts_writes_is_used(
    own_server: Server, postgres_server: Server
) -> None:
    """After a failover the address stays the same."""
    for server in (own_server, postgres_server):
        query(server.url("postgres"), "CREATE DATABASE failover TEMPLATE migrated")
    read_only = "ALTER DATABASE failover SET default_transaction_read_only = on"
    query(postgres_server.url("postgres"), read_only)
    hosts = f"/nowhere,{postgres_server.folder},{own_server.folder}"
    storage = PostgresStorage(f"postgresql://holdfast@/failover?host={hosts}")
    await storage.open()

    await save(storage, promises_created=[promise("p")])

    assert query(own_server.url("failover"), "SELECT id FROM promises") == [("p",)]
    await storage.close()
