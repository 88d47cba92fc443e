"""What is written as the text of an array is read as it was: by the server, and in every column."""

from asyncio import Runner
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from holdfast.core.records import Promise, Schedule, Task
from holdfast_store.db.postgres.array_texts import Element, array_text
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.postgres.storage import PostgresStorage
from tests.integration.postgres import Server, query
from tests.integration.store_db.records import load, promise, save, stored
from tests.unit.holdfast_store.archives.records import PROMISES, SCHEDULES, TASKS

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ODD = st.text(st.sampled_from('"\\{},\x01\t\n\x7fNULnbu0ß🙂 '))
LARGEST = 2**63 - 1

R = TypeVar("R", Promise, Schedule, Task)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(url, tells_time=False)
    await storage.open()
    yield storage
    await storage.close()


def without_nul(record: R) -> R:
    """Leave out what PostgreSQL refuses in a text, and validation everywhere."""
    texts = {name: text for name, text in asdict(record).items() if type(text) is str}
    return replace(record, **{name: text.replace("\0", "") for name, text in texts.items()})


def test_the_server_reads_what_was_written(postgres_url: str) -> None:
    with Runner() as runner:
        connection = runner.run(Connector(postgres_url, bounds=Bounds()).connect())

        def read(column: list[Element], *, as_type: str) -> list[Element]:
            text = f"SELECT unnest(CAST($1::VARCHAR AS {as_type}[]))"
            return [row[0] for row in runner.run(connection.fetch(text, array_text(column)))]

        @settings(deadline=None)
        @given(st.lists(st.none() | TEXTS | ODD))
        @example(
            [None, "", "NULL", "null", "{}", "a,b", '"', "\\", "\\n", "\n", "\\\n", " a ", "'"]
        )
        def check_texts(column: list[Element]) -> None:
            assert read(column, as_type="TEXT") == column

        @settings(deadline=None)
        @given(st.lists(st.none() | st.integers(-LARGEST - 1, LARGEST)))
        def check_numbers(column: list[Element]) -> None:
            assert read(column, as_type="BIGINT") == column

        check_texts()
        check_numbers()
        runner.run(connection.close())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def check_records(runner: Runner, storage: PostgresStorage, url: str, data: st.DataObject) -> None:
    promises = data.draw(st.lists(PROMISES, min_size=2, max_size=4, unique_by=lambda p: p.id))
    ids = [p.id for p in promises]
    tasks = [replace(without_nul(data.draw(TASKS)), id=i, resumes=frozenset()) for i in ids]
    schedules = [replace(without_nul(data.draw(SCHEDULES)), id=i) for i in ids]
    query(url, "DELETE FROM promises; DELETE FROM schedules")

    def write(**changes: Any) -> None:
        runner.run(save(storage, **changes))

    def check() -> None:
        rows = runner.run(stored(storage, *ids))
        found = runner.run(load(storage, schedules=set(ids))).working_set
        assert [rows.promise(i) for i in ids] == promises
        assert [rows.task(i) for i in ids] == tasks
        assert [found.schedule(i) for i in ids] == schedules

    write(promises_created=promises, tasks_created=tasks, schedules_created=schedules)
    check()

    # What an update does not write stays.
    promises = [replace(data.draw(PROMISES), **_born(p)) for p in promises]
    tasks = [replace(without_nul(data.draw(TASKS)), id=t.id, target=t.target) for t in tasks]
    tasks = [replace(t, resumes=frozenset()) for t in tasks]
    schedules = [replace(without_nul(data.draw(SCHEDULES)), id=s.id) for s in schedules]
    write(promises_updated=promises, tasks_updated=tasks, schedules_updated=schedules)
    check()


def _born(promise: Promise) -> dict[str, object]:
    names = ("id", "param", "tags", "timeout_at_ms", "created_at_ms")
    return {name: getattr(promise, name) for name in names}


def test_every_column_of_a_record_comes_back_as_it_was(postgres_url: str) -> None:
    with Runner() as runner:
        storage = PostgresStorage(postgres_url, tells_time=False)
        runner.run(storage.open())
        check_records(runner, storage, postgres_url)
        runner.run(storage.close())


async def test_nothing_is_written_where_a_database_takes_null_for_a_word(
    postgres_server: Server,
) -> None:
    """It may be set so for the sake of another program, from the days before there were any."""
    url = postgres_server.create_database()
    name = query(url, "SELECT current_database()")[0][0]
    query(url, f"ALTER DATABASE {name} SET array_nulls = off")

    async with opened(url) as storage:
        await save(storage, promises_created=[promise("p")])

    assert query(url, "SELECT value_headers IS NULL, branch IS NULL FROM promises") == [
        (True, True)
    ]
