"""A plan that is made while the tables are empty is kept, and must be good when they no longer are.

Nobody has analyzed the tables in the first minute of a database, and by then a store has prepared
all it runs.
"""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from holdfast_store.db.postgres.connections import Bounds, Connector
from tests.integration.postgres import Server
from tests.integration.store_postgres.test_query_plans import READS

WHOLE = {
    # Partial indexes of what is open, queued or armed, read to count or to find the first.
    "promises_armed",
    "tasks_due",
    "tasks_leased",
    "tasks_open",
    "tasks_queued",
    # One row for each process.
    "replicas_pkey",
}


@pytest.fixture
async def connection(postgres_server: Server) -> AsyncIterator[asyncpg.Connection]:
    """Connect to a database that no test has filled: emptied tables keep their size."""
    url = postgres_server.create_database()
    connection = await Connector(url, bounds=Bounds()).connect()
    yield connection
    await connection.close()


async def test_no_statement_walks_through_a_whole_index_of_a_table_that_grows(
    connection: asyncpg.Connection,
) -> None:
    walked: dict[str, set[str]] = {}
    for number, (name, text) in enumerate(READS.items()):
        await connection.execute(f"PREPARE s{number} AS {text}")
        types = await connection.fetchval(
            "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = $1",
            f"s{number}",
        )
        nothing = ", ".join(f"NULL::{type_name}" for type_name in types)
        given = f"({nothing})" if nothing else ""
        rows = await connection.fetch(f"EXPLAIN EXECUTE s{number}{given}")
        indexes = _without_condition([row[0] for row in rows])
        if indexes - WHOLE:
            walked[name] = indexes - WHOLE

    assert walked == {}


async def test_a_statement_is_planned_once_and_not_at_each_run(
    connection: asyncpg.Connection,
) -> None:
    """Planning costs more than running, and for a handful of rows there is nothing to choose."""
    statement = await connection.prepare(READS["records"])
    for _ in range(10):
        await statement.fetch(["p"])

    plans = await connection.fetch(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1",
        READS["records"],
    )

    assert [tuple(row) for row in plans] == [(10, 0)]


def _without_condition(plan: list[str]) -> set[str]:
    """Name the indexes that a plan reads without looking for anything in them."""
    found = set()
    for line, following in zip(plan, [*plan[1:], ""], strict=True):
        words = line.strip().removeprefix("->").split()
        if "using" in words and "Index Cond" not in following:
            found.add(words[words.index("using") + 1])
    return found
