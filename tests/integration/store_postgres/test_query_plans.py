"""Every statement that a store runs again and again finds its rows by an index."""

import re
from dataclasses import asdict

import asyncpg
import pytest

from holdfast.core.records import BRANCH, ORIGIN, PARENT, PromiseState, TaskState
from holdfast.core.search import PromiseSearch, TaskSearch
from holdfast_store.db import retention_statements, statements
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres import statements as postgres_statements
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.search_statements import SearchStatements
from tests.integration.postgres import query

LOCKING = asdict(postgres_statements.build(Postgres()))
SHARED = asdict(statements.build(Postgres()))
USED = (
    "ids_of_pids",
    "children",
    "promises",
    "armed_promises",
    "armed_tasks",
    "next_due",
    "queued_groups",
    "unblock_addresses",
    "lease_holders",
    "queue_states",
    "queue_due",
)
RETENTION = asdict(retention_statements.build(Postgres(), locks=True))
SEARCHES = SearchStatements(Postgres())
LISTINGS = {
    f"promises {state} {tag} {prefix}": SEARCHES.promises(
        PromiseSearch(state=state, tags={tag: "x"} if tag else {}, id_prefix=prefix), now_ms=1
    ).text
    for state in (None, *PromiseState)
    for tag in ("", "name", ORIGIN, BRANCH, PARENT)
    for prefix in ("", "a/")
} | {
    f"tasks {state} {prefix}": SEARCHES.tasks(
        TaskSearch(state=state, id_prefix=prefix), now_ms=1
    ).text
    for state in (None, *TaskState)
    for prefix in ("", "a/")
}
READS = {name: SHARED[name] for name in USED} | LOCKING | RETENTION | LISTINGS
SMALL = {"writers", "replicas", "schema_revisions"}
"""Tables with a row for each of something of which there are a few."""
ONE = "{1}"
"""Any text, which is that of an array too, of whatever type."""

FILL = """
INSERT INTO promises (id, state, tags, timeout_at_ms, created_at_ms, armed, counted_bytes)
  SELECT 'p' || n, 'pending', '{}', n, 0, false, 64 FROM generate_series(1, 5000) AS n;
INSERT INTO tasks (id, state, version, target, paced_until_ms, wait_mode, waiting_on,
    unknown_releases, deliveries, "group")
  SELECT 'p' || n, 'suspended', 0, '', 0, 'any', 0, 0, 0, 'g' FROM generate_series(1, 5000) AS n;
INSERT INTO callbacks SELECT 'p' || n, 'p1' FROM generate_series(1, 5000) AS n;
INSERT INTO listeners SELECT 'p' || n, 'http://l' FROM generate_series(1, 5000) AS n;
INSERT INTO resumes SELECT 'p' || n, 'p1' FROM generate_series(1, 5000) AS n;
INSERT INTO outbox SELECT 'http://' || n, 'p1', n FROM generate_series(1, 5000) AS n;
"""


def value_of(type_name: str) -> object:
    """Any value of a type of PostgreSQL."""
    values: dict[str, object] = {"text": "x", "varchar": ONE, "int8": 1}
    array = type_name.removesuffix("[]").removeprefix("_")
    element: object = values.get(array, b"x")
    return [element] if type_name.endswith("[]") or type_name.startswith("_") else element


@pytest.mark.parametrize("is_full", [False, True])
async def test_no_statement_reads_a_table_from_end_to_end(
    postgres_url: str, *, is_full: bool
) -> None:
    """Neither with the plans of an empty database, which a connection keeps, nor of a full one."""
    if is_full:
        query(postgres_url, FILL)
        query(postgres_url, "ANALYZE")
    connection = await Connector(postgres_url, bounds=Bounds()).connect()
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    read_whole: dict[str, set[str]] = {}
    for name, text in READS.items():
        statement = await connection.prepare(text)
        parameters = [value_of(p.name) for p in statement.get_parameters()]
        if name == "queued_turns":
            parameters = ['[["g", 0, 5]]']
        scanned = await _scanned(connection, text, parameters)
        if scanned - SMALL:
            read_whole[name] = scanned
    await connection.close()

    assert len(READS) > 30
    assert read_whole == {}


async def _scanned(connection: asyncpg.Connection, text: str, parameters: list[object]) -> set[str]:
    rows = await connection.fetch(f"EXPLAIN {text}", *parameters)
    plan = "\n".join(row[0] for row in rows)
    return set(re.findall(r"Seq Scan on (\w+)", plan))


@pytest.mark.parametrize("state", [PromiseState.PENDING, PromiseState.REJECTED])
async def test_a_few_promises_are_found_among_many_by_their_state(
    postgres_url: str, state: PromiseState
) -> None:
    query(postgres_url, FILL.replace("'pending'", "'resolved'"))
    query(postgres_url, "ANALYZE")
    connection = await Connector(postgres_url, bounds=Bounds()).connect()
    question = SEARCHES.promises(PromiseSearch(state=state), now_ms=1)

    rows = await connection.fetch(f"EXPLAIN {question.text}", *question.parameters)
    await connection.close()

    assert "promises_states" in "\n".join(row[0] for row in rows)


async def test_a_few_tasks_are_found_among_many_by_their_state(postgres_url: str) -> None:
    query(postgres_url, FILL)
    query(postgres_url, "ANALYZE")
    connection = await Connector(postgres_url, bounds=Bounds()).connect()
    question = SEARCHES.tasks(TaskSearch(state=TaskState.HALTED), now_ms=1)

    rows = await connection.fetch(f"EXPLAIN {question.text}", *question.parameters)
    await connection.close()

    assert "tasks_states" in "\n".join(row[0] for row in rows)
