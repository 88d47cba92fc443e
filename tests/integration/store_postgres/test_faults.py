"""A full disk, no connection left, a clock that was set, tables that no longer fit."""

import contextlib
import os
import time
from collections.abc import Iterator

import psycopg
import pytest

from holdfast.core.records import Value
from holdfast_store.db.errors import SchemaAhead
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.storage import StorageUnavailable
from tests.integration.postgres import Server, query
from tests.integration.store_db.records import load, promise, save, stored
from tests.integration.store_postgres.test_failures import END_ALL

MEBIBYTE = 1024 * 1024
HOUR_MS = 3_600_000

# A disk that is full


async def test_a_full_disk_makes_the_storage_unavailable_until_there_is_room(
    own_server: Server,
) -> None:
    """No file may pass a size, so that the server cannot extend its tables; its log still grows."""
    storage = PostgresStorage(own_server.create_database())
    with own_server.files_limited_to(24 * MEBIBYTE):
        await storage.open()
        await save(storage, promises_created=[promise("before")])
        large = [promise(f"p{n}", value=Value(data=os.urandom(MEBIBYTE))) for n in range(32)]

        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="cannot be used now"):
                await save(storage, promises_created=[promise("small"), *large])

        found = {p.id for p in (await stored(storage, "before", "small", "p0")).promises()}
    assert found == {"before"}
    await save(storage, promises_created=large)
    assert (await stored(storage, "p31")).promise("p31") == large[31]
    await storage.close()


END_EVERYONE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'holdfast-store'"
)


# No connection left


@contextlib.contextmanager
def all_connections(server: Server) -> Iterator[None]:
    """Take every connection that the server has left, those of its administrators too."""
    with contextlib.ExitStack() as taken:
        while True:
            try:
                connection = psycopg.connect(server.url("postgres"))
            except psycopg.OperationalError as error:
                assert "too many clients" in str(error)  # noqa: PT017 - it ends the loop
                break
            taken.callback(connection.close)
        yield


async def test_a_store_that_runs_goes_on_while_no_connection_is_left(own_server: Server) -> None:
    """It keeps the one that batches need; what counts tasks for the metrics has to wait."""
    storage = PostgresStorage(own_server.create_database())
    await storage.open()

    with all_connections(own_server):
        await save(storage, promises_created=[promise("p")])
        with pytest.raises(StorageUnavailable, match="53300"):
            await storage.queue_counts(now_ms=1)

    assert list(await storage.queue_counts(now_ms=1)) == []
    assert (await stored(storage, "p")).promise("p") is not None
    await storage.close()


async def test_a_store_that_finds_no_connection_is_unavailable_until_there_is_one(
    own_server: Server,
) -> None:
    url = own_server.create_database()
    storage, late = PostgresStorage(url), PostgresStorage(url)
    await storage.open()

    query(own_server.url("postgres"), END_EVERYONE)
    with all_connections(own_server):
        with pytest.raises(StorageUnavailable, match="53300"):
            await late.open()
        for _ in range(3):
            with pytest.raises(StorageUnavailable, match="53300"):
                await save(storage, promises_created=[promise("p")])

    await until_it_works(storage)
    assert (await stored(storage, "p")).promise("p") is None
    await storage.close()


async def until_it_works(storage: PostgresStorage) -> None:
    """Try again for as long as a refusal is remembered."""
    deadline = time.monotonic() + 10
    while True:
        try:
            await save(storage, promises_created=[promise(f"q{time.monotonic_ns()}")])
        except StorageUnavailable:
            assert time.monotonic() < deadline
        else:
            return


# A clock that was set

SHIFTED = """
CREATE SCHEMA shifted;
CREATE TABLE shifted.shift (ms bigint);
INSERT INTO shifted.shift VALUES (0);
CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  'SELECT pg_catalog.clock_timestamp() + (SELECT ms FROM shifted.shift) * interval ''1 ms''';
CREATE FUNCTION shifted.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
  'SELECT pg_catalog.statement_timestamp() + (SELECT ms FROM shifted.shift) * interval ''1 ms''';
"""


@pytest.fixture
def shifted_url(postgres_server: Server) -> str:
    """Take a database whose clock a test can set: the store's statements find its functions."""
    url = postgres_server.create_database()
    query(url, SHIFTED)
    name = url.rpartition("/test_")[2].partition("?")[0]
    query(url, f"ALTER DATABASE test_{name} SET search_path = public, shifted, pg_catalog")
    return url


def set_clock(url: str, ms: int) -> None:
    """Set the clock forward or back, as seen from the true one."""
    query(url, f"UPDATE shifted.shift SET ms = {ms}")


async def test_time_never_goes_back_when_the_clock_of_the_database_does(shifted_url: str) -> None:
    """A store goes on at half speed until the database has caught up."""
    storage = PostgresStorage(shifted_url)
    await storage.open()
    told = [(await load(storage)).now_ms]

    for shift_ms in (HOUR_MS, -HOUR_MS, 0):
        set_clock(shifted_url, shift_ms)
        told += [(await load(storage)).now_ms for _ in range(5)]
        told.append(storage.clock())

    await storage.close()
    assert told == sorted(told)
    assert told[0] + HOUR_MS <= told[-1] < told[0] + HOUR_MS + 600_000


async def test_what_a_jump_makes_due_is_due_at_every_store(shifted_url: str) -> None:
    """No store goes by its own machine: that one's clock was not set."""
    stores = [PostgresStorage(shifted_url) for _ in range(2)]
    for each in stores:
        await each.open()
    now_ms = (await load(stores[0])).now_ms
    soon = promise("soon", timeout_at_ms=now_ms + HOUR_MS // 2, armed=True)
    later = promise("later", timeout_at_ms=now_ms + 2 * HOUR_MS, armed=True)
    await save(stores[0], promises_created=[soon, later])

    before = [list((await load(each, due_max=9)).due_promises) for each in stores]
    set_clock(shifted_url, HOUR_MS)
    after = [list((await load(each, due_max=9)).due_promises) for each in stores]
    for each in stores:
        await each.close()

    assert before == [[], []]
    assert after == [["soon"], ["soon"]]


async def test_a_store_that_comes_after_a_jump_goes_by_the_clock_as_it_is(
    shifted_url: str,
) -> None:
    set_clock(shifted_url, -HOUR_MS)
    storage = PostgresStorage(shifted_url)
    await storage.open()

    behind_ms = time.time() * 1000 - (await load(storage)).now_ms

    await storage.close()
    assert HOUR_MS - 60_000 < behind_ms < HOUR_MS + 60_000


async def test_stores_that_start_after_the_clock_was_set_back_go_on_where_the_last_ended(
    shifted_url: str,
) -> None:
    set_clock(shifted_url, HOUR_MS)
    last = PostgresStorage(shifted_url)
    await last.open()
    used_ms = (await load(last)).now_ms
    await save(last, promises_created=[promise("p", created_at_ms=used_ms)])
    await last.close()
    set_clock(shifted_url, 0)

    storage = PostgresStorage(shifted_url)
    await storage.open()
    told = [(await load(storage)).now_ms for _ in range(3)]
    await storage.close()

    assert used_ms <= told[0] < used_ms + 60_000
    assert told == sorted(told)


# Tables that no longer fit


async def test_a_store_that_connects_again_does_not_use_what_was_contracted_meanwhile(
    postgres_server: Server,
) -> None:
    url = postgres_server.create_database()
    storage = PostgresStorage(url)
    await storage.open()
    await save(storage, promises_created=[promise("before")])

    query(url, "INSERT INTO schema_floors VALUES ('9999', '9998')")
    query(url, END_ALL)
    with pytest.raises(SchemaAhead, match="know revision 9998"):
        await save(storage, promises_created=[promise("after")])
    with pytest.raises(SchemaAhead):
        await storage.ping()  # so that it is not ready, and its requests go elsewhere

    assert query(url, "SELECT id FROM promises") == [("before",)]
    await storage.close()
