"""A database as a whole: looked at, written out, and filled from what another kind wrote."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import Callback, Unblock, Value
from holdfast_store.archives.audit import Audit
from holdfast_store.archives.dump import dump
from holdfast_store.archives.load import Source, load
from holdfast_store.archives.port import Archive, Listener, NotEmpty, Record, RecordRefused
from holdfast_store.db.errors import SchemaBehind
from holdfast_store.db.migrate import migrate
from holdfast_store.db.postgres.archive import PostgresArchive
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.sqlite.archive import SqliteArchive
from holdfast_store.storage import StorageError
from tests.integration.postgres import Server, query
from tests.integration.store_archives.test_round_trip import FULL_SCHEDULE
from tests.integration.store_db.records import promise, save, targeted, task
from tests.integration.store_db.test_round_trip import FULL_PROMISE, FULL_TASK

EVERYTHING: list[Record] = [
    FULL_PROMISE,
    *(promise(f"p{n:03}", value=Value(data=b"x" * n)) for n in range(100)),
    FULL_TASK,
    Callback(awaited="full", awaiter="full", wait_version=5),
    Listener(promise_id="full", address="http://l"),
    Unblock(promise_id="gone", address="http://l", enqueued_at_ms=6),
    FULL_SCHEDULE,
]


async def fill(archive: Archive, records: Sequence[Record]) -> None:
    async with archive.restoration() as restoration:
        await restoration.add(records)
        await restoration.commit()


async def exported(archive: Archive) -> bytes:
    file = io.BytesIO()
    async with archive.snapshot() as snapshot:
        await dump(snapshot, file.write, now_ms=7)
    return file.getvalue()


async def imported(archive: Archive, text: bytes) -> None:
    source = Source(io.BytesIO(text))
    async with archive.restoration() as restoration:
        await load(source, source.header(), restoration)


@pytest.mark.parametrize("chunk_rows", [1, 7, 500])
async def test_a_database_moves_to_the_other_kind_and_back(
    postgres_server: Server, postgres_url: str, tmp_path: Path, chunk_rows: int
) -> None:
    for name in ("first", "last"):
        migrate(f"sqlite:///{tmp_path}/{name}.db")
    first, last = (SqliteArchive(tmp_path / f"{name}.db") for name in ("first", "last"))
    between = PostgresArchive(postgres_url, chunk_rows=chunk_rows)
    await fill(first, EVERYTHING)

    text = await exported(first)
    await imported(between, text)
    await imported(last, await exported(between))

    assert await exported(between) == text
    assert await exported(last) == text


async def test_a_check_finds_what_a_person_has_broken(
    postgres_server: Server,
) -> None:
    url = postgres_server.create_database()
    await fill(PostgresArchive(url), EVERYTHING)
    query(url, "UPDATE promises SET tags = '{' WHERE id = 'p001'")
    query(url, "UPDATE promises SET armed_at_ms = 1 WHERE id = 'p002'")
    query(url, "ALTER TABLE resumes DISABLE TRIGGER ALL")
    query(url, "INSERT INTO resumes VALUES ('nobody', 'p003')")

    async with PostgresArchive(url).snapshot() as snapshot:
        audit = Audit(snapshot, now_ms=7, profile=DEFAULT_PROFILE)
        await audit.run()

    found = {v.subject for rule in audit.broken() for v in rule.first if rule.rule[0] == "D"}
    assert found >= {"p001", "p002"}
    assert any(subject.startswith("nobody") for subject in found)


async def test_a_snapshot_sees_nothing_that_is_written_later(postgres_url: str) -> None:
    storage = PostgresStorage(postgres_url)
    await storage.open()
    await save(storage, promises_created=[promise("before")])

    async with PostgresArchive(postgres_url).snapshot() as snapshot:
        await save(storage, promises_created=[promise("during")])
        seen = [p.id async for chunk in snapshot.promises(payloads=True) for p in chunk.records]

    assert seen == ["before"]
    await storage.close()


async def test_what_is_not_committed_is_not_there(postgres_url: str) -> None:
    async with PostgresArchive(postgres_url).restoration() as restoration:
        await restoration.add(EVERYTHING)

    assert query(postgres_url, "SELECT count(*) FROM promises") == [(0,)]


async def test_only_an_empty_database_is_filled(postgres_url: str) -> None:
    await fill(PostgresArchive(postgres_url), [promise("p")])

    with pytest.raises(NotEmpty):
        await fill(PostgresArchive(postgres_url), EVERYTHING)


async def test_a_database_without_tables_is_refused(bare_postgres_url: str) -> None:
    for use in (
        fill(PostgresArchive(bare_postgres_url), []),
        exported(PostgresArchive(bare_postgres_url)),
    ):
        with pytest.raises(SchemaBehind):
            await use


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (promise("p001"), "the same record is there already"),
        (task("nobody"), "names a promise or a task that is not there"),
        (promise("a\0b"), "the database refuses it"),
    ],
)
async def test_a_record_that_is_refused_is_named_and_nothing_stays(
    postgres_url: str, bad: Any, reason: str
) -> None:
    records = [promise("p001"), targeted("t"), task("t"), bad, promise("p2")]

    with pytest.raises(RecordRefused, match=reason) as refused:
        await fill(PostgresArchive(postgres_url), records)

    assert refused.value.index == 3
    assert query(postgres_url, "SELECT count(*) FROM promises") == [(0,)]


async def test_a_running_store_cannot_write_into_half_a_database(postgres_url: str) -> None:
    storage = PostgresStorage(postgres_url)
    await storage.open()

    async with PostgresArchive(postgres_url).restoration() as restoration:
        await restoration.add([promise("p")])
        assert storage._lane is not None
        session = await storage._lane._writer.current()
        await session.execute("SET lock_timeout = 50")
        with pytest.raises(StorageError):
            await save(storage, promises_created=[promise("q")])

    await storage.close()
