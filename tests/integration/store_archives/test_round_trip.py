"""What is exported and imported again is the same in every column of every table."""

import asyncio
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.records import Callback, Promise, Schedule, Unblock
from holdfast_store.archives import load as loading
from holdfast_store.archives.dump import CannotDump, dump
from holdfast_store.archives.load import LoadRefused, Source, load
from holdfast_store.archives.port import Kind, Listener, NotEmpty, Record, RecordRefused
from holdfast_store.db.errors import SchemaBehind
from holdfast_store.db.sqlite.archive import SqliteArchive
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.db.tables import metadata
from holdfast_store.storage import StorageUnavailable
from tests.integration.store_archives.files import execute, migrated, tables_of, write
from tests.integration.store_db.test_round_trip import FULL_PROMISE, FULL_TASK
from tests.unit.holdfast.core.rows import AWAITED, PARKED, RUN, SETTLED, UNBLOCK, WAIT, store
from tests.unit.holdfast_store.archives.records import (
    CALLBACKS,
    LISTENERS,
    PROMISES,
    SCHEDULES,
    TASKS,
    UNBLOCKS,
)

FULL_SCHEDULE = Schedule(
    id="full",
    cron="* * * * *",
    promise_id="p.{{.timestamp}}",
    promise_timeout_ms=1,
    promise_param=FULL_PROMISE.param,
    promise_tags=FULL_PROMISE.tags,
    created_at_ms=2,
    next_run_at_ms=3,
    last_run_at_ms=4,
    paused=True,
    time_zone="Europe/Berlin",
)
OF_PROCESSES = {"writers", "replicas"}
"""Tables about the programs that use the database, which mean nothing to others."""

EVERYTHING: list[Record] = [
    FULL_PROMISE,
    FULL_TASK,
    Callback(awaited="full", awaiter="full", wait_version=5),
    Listener(promise_id="full", address="http://l"),
    Unblock(promise_id="gone", address="http://l", enqueued_at_ms=6),
    FULL_SCHEDULE,
]


async def fill(path: Path, records: Sequence[Record]) -> None:
    async with SqliteArchive(path).restoration() as restoration:
        await restoration.add(records)
        await restoration.commit()


async def exported(path: Path, *, chunk_rows: int = 500) -> bytes:
    file = io.BytesIO()
    async with SqliteArchive(path, chunk_rows=chunk_rows).snapshot() as snapshot:
        await dump(snapshot, file.write, now_ms=7)
    return file.getvalue()


async def imported(path: Path, text: bytes) -> Source:
    source = Source(io.BytesIO(text))
    async with SqliteArchive(path).restoration() as restoration:
        await load(source, source.header(), restoration)
    return source


async def copied(path: Path, *, chunk_rows: int = 500) -> Path:
    copy = migrated(path.with_suffix(".copy"))
    await imported(copy, await exported(path, chunk_rows=chunk_rows))
    return copy


@st.composite
def databases(draw: st.DrawFn) -> list[Record]:
    """Draw records that keep the references of the tables, and no rule beyond them."""
    promises = draw(st.lists(PROMISES, min_size=1, max_size=6, unique_by=lambda p: p.id))
    some = st.lists(st.sampled_from([p.id for p in promises]), max_size=4, unique=True)
    tasks = [replace(draw(TASKS), id=task_id) for task_id in draw(some)]
    waits = draw(some) if tasks else []
    return [
        *promises,
        *tasks,
        *(
            replace(draw(CALLBACKS), awaited=awaited, awaiter=draw(st.sampled_from(tasks)).id)
            for awaited in waits
        ),
        *(dataclasses.replace(draw(LISTENERS), promise_id=promise_id) for promise_id in draw(some)),
        *draw(st.lists(UNBLOCKS, max_size=3, unique_by=lambda u: (u.address, u.promise_id))),
        *draw(st.lists(SCHEDULES, max_size=2, unique_by=lambda s: s.id)),
    ]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(records=databases(), chunk_rows=st.integers(1, 4))
def test_any_database_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], chunk_rows: int
) -> None:
    path = migrated(tmp_path_factory.mktemp("any") / "x.db")

    async def there_and_back() -> Path:
        await fill(path, records)
        return await copied(path, chunk_rows=chunk_rows)

    copy = asyncio.run(there_and_back())

    assert tables_of(copy) == tables_of(path)


async def test_every_table_and_column_is_carried(tmp_path: Path) -> None:
    """A column that is added to the tables, and forgotten here, would stay empty."""
    path = migrated(tmp_path / "full.db")
    await fill(path, EVERYTHING)

    tables = tables_of(await copied(path))

    assert tables == tables_of(path)
    carried = {name: t for name, t in metadata.tables.items() if name not in OF_PROCESSES}
    assert {name for name, found in tables.items() if found} == carried.keys()
    # Derived, of what is paused and of what is settled; and what only stores on a server go by.
    unset = {"due_at_ms", "armed_at_ms", "revision"}
    for name, table in carried.items():
        of_columns = zip(*tables[name], strict=True)
        for column, cells in zip(table.columns, of_columns, strict=True):
            assert column.name in unset or None not in cells, f"{name}.{column.name} is not tried"


async def test_what_a_store_wrote_comes_back_as_it_was(tmp_path: Path) -> None:
    path = migrated(tmp_path / "store.db")
    write(path, store(AWAITED, SETTLED, RUN, PARKED, WAIT, UNBLOCK, ("a", "poll://uni@g/1")))

    source_counts = (await imported(migrated(tmp_path / "b.db"), await exported(path))).counts

    assert tables_of(tmp_path / "b.db") == tables_of(path)
    assert source_counts[Kind.PROMISE] == 3


async def test_an_empty_database_comes_back_empty(tmp_path: Path) -> None:
    path = migrated(tmp_path / "empty.db")

    text = await exported(path)

    assert [json.loads(line)["kind"] for line in text.splitlines()] == ["export", "end"]
    assert tables_of(await copied(path)) == tables_of(path)


async def test_the_file_is_the_same_however_it_is_cut_into_chunks(tmp_path: Path) -> None:
    path = migrated(tmp_path / "x.db")
    await fill(path, [Promise(id=str(n), timeout_at_ms=n, created_at_ms=0) for n in range(20)])

    assert await exported(path, chunk_rows=3) == await exported(path)


async def test_a_row_that_cannot_be_read_is_not_left_out_silently(tmp_path: Path) -> None:
    path = migrated(tmp_path / "odd.db")
    await fill(path, EVERYTHING)
    execute(path, "UPDATE promises SET tags = '{'")

    with pytest.raises(CannotDump, match="'full' cannot be read"):
        await exported(path)


# What is refused


async def sample(tmp_path: Path) -> tuple[Path, bytes]:
    path = migrated(tmp_path / "sample.db")
    await fill(path, EVERYTHING)
    return migrated(tmp_path / "target.db"), await exported(path)


async def refusal(target: Path, text: bytes) -> LoadRefused:
    """Import what must be refused; nothing of it may be there afterwards."""
    before = tables_of(target)
    with pytest.raises(LoadRefused) as refused:
        await imported(target, text)
    assert tables_of(target) == before
    return refused.value


async def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    target, text = await sample(tmp_path)
    ends = [n for n, byte in enumerate(text) if byte == ord("\n")]
    cuts = sorted({0, *(n + d for n in ends for d in (-9, 0, 1)), *range(1, len(text), 97)})
    whole = {ends[-1], len(text)}  # without its last line end it is still whole

    refused = [await refusal(target, text[:cut]) for cut in cuts if cut not in whole]

    assert all("the file was cut off" in str(error) for error in refused)
    await imported(target, text)


@pytest.mark.parametrize("line", range(2, 8))
async def test_a_file_that_lacks_a_line_is_refused(tmp_path: Path, line: int) -> None:
    target, text = await sample(tmp_path)
    lines = text.splitlines(keepends=True)
    kind = json.loads(lines[line - 1])["kind"]

    error = await refusal(target, b"".join(lines[: line - 1] + lines[line:]))

    if kind in {"promise", "task"}:  # others name it, and come first
        assert "it names a promise or a task that is not there" in str(error)
    else:
        assert (error.line, error.field) == (7, f"counts.{kind}")
        assert f"it counts 1 of the kind {kind}, the lines before it are 0" in str(error)


async def changed(tmp_path: Path, number: int, **fields: Any) -> LoadRefused:
    """Change fields of one line, and import."""
    target, text = await sample(tmp_path)
    lines = text.splitlines(keepends=True)
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | fields).encode() + b"\n"
    return await refusal(target, b"".join(lines))


async def test_a_wrong_field_is_named_with_its_line(tmp_path: Path) -> None:
    error = await changed(tmp_path, 3, ttl_ms="soon")

    assert str(error) == "line 3, field ttl_ms: Expected `int | null`, got `str`"


async def test_another_format_is_refused(tmp_path: Path) -> None:
    error = await changed(tmp_path, 1, format=2)

    assert str(error) == "line 1, field format: the format is 2, this version reads 1"


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    error = await changed(tmp_path, 1, schema_revision="9999")

    assert error.field == "schema_revision"
    assert "a newer version wrote the file" in str(error)


async def test_a_file_that_is_no_export_is_refused(tmp_path: Path) -> None:
    target, text = await sample(tmp_path)
    second = text.splitlines(keepends=True)[1]

    assert (await refusal(target, b"")).line == 1
    assert (await refusal(target, b"hello\n")).line == 1
    assert (await refusal(target, second)).field == "kind"


async def test_two_files_in_one_are_refused(tmp_path: Path) -> None:
    target, text = await sample(tmp_path)
    header = text.splitlines(keepends=True)[0]

    behind = await refusal(target, text + text)
    within = await refusal(target, header + text)

    assert str(behind) == "line 9: there is something behind the last line"
    assert str(within) == "line 2, field kind: a second export begins here"


async def test_a_record_that_comes_twice_is_named_with_its_line(tmp_path: Path) -> None:
    target, text = await sample(tmp_path)
    lines = text.splitlines(keepends=True)

    for number in range(1, 7):
        twice = b"".join([*lines[: number + 1], *lines[number:]])
        assert str(await refusal(target, twice)) == (
            f"line {number + 2}: the same record is there already"
        )


async def test_a_line_of_any_length_is_not_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, text = await sample(tmp_path)
    monkeypatch.setattr(loading, "LINE_BYTES_MAX", 200)

    error = await refusal(target, text)

    assert str(error) == "line 2: the line has more than 200 bytes"


async def test_the_culprit_among_many_is_found(tmp_path: Path) -> None:
    target = migrated(tmp_path / "many.db")
    records = [Promise(id=str(n % 400), timeout_at_ms=1, created_at_ms=0) for n in range(401)]

    async with SqliteArchive(target).restoration() as restoration:
        with pytest.raises(RecordRefused) as refused:
            await restoration.add(records)

    assert refused.value.index == 400


async def test_a_database_with_anything_in_it_is_not_filled(tmp_path: Path) -> None:
    for number, record in enumerate(EVERYTHING):
        path = migrated(tmp_path / f"{number}.db")
        needed = [r for r in EVERYTHING[:2] if not isinstance(record, Unblock | Schedule)]
        await fill(path, [*needed[:number], record])

        with pytest.raises(NotEmpty, match="name a new one"):
            await fill(path, [])


async def test_a_database_that_a_store_has_open_is_not_filled(tmp_path: Path) -> None:
    path = migrated(tmp_path / "open.db")
    storage = SqliteStorage(path)
    await storage.open()

    with pytest.raises(StorageUnavailable, match="another process has the database open"):
        await fill(path, EVERYTHING)

    await storage.close()
    await fill(path, EVERYTHING)


async def test_a_database_without_tables_is_not_filled(tmp_path: Path) -> None:
    path = tmp_path / "bare.db"
    execute(path, "CREATE TABLE other (x)")

    with pytest.raises(SchemaBehind):
        await fill(path, [])


async def test_what_is_not_committed_is_not_kept(tmp_path: Path) -> None:
    path = migrated(tmp_path / "undone.db")
    before = tables_of(path)

    async with SqliteArchive(path).restoration() as restoration:
        await restoration.add(EVERYTHING)

    assert tables_of(path) == before
