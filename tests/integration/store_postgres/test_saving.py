"""What a batch writes in one statement: as if each part had been a statement of its own."""

import re
from collections.abc import Sequence
from itertools import pairwise

import asyncpg

from holdfast.core.records import BRANCH, PARENT, Callback, Preload, Promise, PromiseState
from holdfast.core.working_set import Changes
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres import statements as postgres_statements
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.postgres.saving import joined
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.storage import Plan
from tests.integration.postgres import query
from tests.integration.store_postgres.test_query_plans import value_of

TEXTS = postgres_statements.build(Postgres())
ALL = (
    *(TEXTS.promise_insert, TEXTS.task_insert, TEXTS.promise_update, TEXTS.task_update),
    *(TEXTS.callback_delete, TEXTS.callback_save, TEXTS.listeners_delete, TEXTS.listener_save),
    *(TEXTS.resumes_delete, TEXTS.resume_insert, TEXTS.unblock_save, TEXTS.mark),
    TEXTS.with_children,
)
FILL = """
INSERT INTO promises (id, state, tags, timeout_at_ms, created_at_ms, armed, counted_bytes)
  SELECT id, 'pending', '{}', 9, 0, false, 64 FROM unnest(array['a', 'b', 'c']) AS id;
INSERT INTO tasks (id, state, version, target, paced_until_ms, wait_mode, waiting_on,
    unknown_releases, deliveries, "group")
  SELECT id, 'suspended', 0, '', 0, 'any', 0, 0, 0, 'g' FROM unnest(array['a', 'b']) AS id;
INSERT INTO callbacks (awaited, awaiter, wait_version) VALUES ('c', 'a', 1), ('c', 'b', 1);
INSERT INTO listeners (promise_id, address) VALUES ('c', 'http://old');
INSERT INTO resumes (task_id, awaited) VALUES ('a', 'b'), ('a', 'c');
"""


async def save(
    storage: PostgresStorage, changes: Changes, *, preload_of: Sequence[str] = ()
) -> dict[str, Preload]:
    async with storage.transaction() as transaction:
        await transaction.load(Plan(ids={"a"}), now_ms=1)
        preloads = await transaction.commit(changes, preload_of=preload_of, preload_bytes_max=1_000)
    return dict(preloads)


def promise(promise_id: str, *, branch: str, parent: str) -> Promise:
    return Promise(
        id=promise_id,
        state=PromiseState.PENDING,
        tags={BRANCH: branch, PARENT: parent},
        timeout_at_ms=9,
        created_at_ms=1,
    )


def root(promise_id: str) -> Promise:
    return promise(promise_id, branch=promise_id, parent=promise_id)


async def test_rows_that_are_deleted_and_written_again_are_there(
    storage: PostgresStorage, postgres_url: str
) -> None:
    query(postgres_url, FILL)
    changes = Changes(
        callbacks_removed=[("c", "a")],
        callbacks_saved=[Callback(awaited="c", awaiter="a", wait_version=2)],
        listeners_cleared=["c"],
        listeners_added=[("c", "http://old"), ("c", "http://new")],
        resumes_cleared=["a"],
        resumes_added=[("a", "c")],
    )

    await save(storage, changes)

    assert set(query(postgres_url, "SELECT awaiter, wait_version FROM callbacks")) == {
        ("a", 2),
        ("b", 1),
    }
    assert set(query(postgres_url, "SELECT address FROM listeners")) == {
        ("http://old",),
        ("http://new",),
    }
    assert query(postgres_url, "SELECT awaited FROM resumes") == [("c",)]


async def test_a_new_root_has_no_children_and_costs_no_statement_to_know_it(
    storage: PostgresStorage,
) -> None:
    texts: list[str] = []
    storage.on_statement = texts.append

    preloads = await save(storage, Changes(promises_created=[root("r")]), preload_of=["r"])

    assert preloads == {"r": Preload(promises=(), complete=True)}
    assert len(texts) == 4, "begin, lock, write, commit"


async def test_children_that_were_there_before_a_root_are_preloaded(
    storage: PostgresStorage,
) -> None:
    """Anybody may create a promise that names what does not exist yet."""
    early = [promise("r.1", branch="r", parent="x"), promise("s.1", branch="x", parent="s")]
    await save(storage, Changes(promises_created=early))
    late = [root("r"), root("s"), root("t"), promise("t.1", branch="t", parent="t")]

    preloads = await save(storage, Changes(promises_created=late), preload_of=["r", "s", "t"])

    found = {name: [p.id for p in preload.promises] for name, preload in preloads.items()}
    assert found == {"r": ["r.1"], "s": ["s.1"], "t": ["t.1"]}


async def test_parts_are_carried_out_in_their_order(postgres_url: str) -> None:
    """Two that write the same rows would otherwise wait for each other in a circle."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TEMP SEQUENCE turns; CREATE TEMP TABLE took (turn int, n int)")
    part = "INSERT INTO took SELECT nextval('turns'), $1::int"

    await connection.fetch(joined((*[part] * 5, "SELECT $1::text")), *range(5), "")

    order = await connection.fetch("SELECT n FROM took ORDER BY turn")
    await connection.close()
    assert [row[0] for row in order] == list(range(5))


async def test_parts_that_are_joined_still_find_their_rows_by_an_index(postgres_url: str) -> None:
    connection = await Connector(postgres_url, bounds=Bounds()).connect()
    for texts in (ALL, *pairwise(ALL)):
        text = joined(texts)
        statement = await connection.prepare(text)
        parameters = [value_of(p.name) for p in statement.get_parameters()]
        rows = await connection.fetch(f"EXPLAIN {text}", *parameters)
        scanned = set(re.findall(r"Seq Scan on (\w+)", "\n".join(row[0] for row in rows)))
        assert scanned <= {"writers"}
    await connection.close()


def test_the_longest_text_is_kept_by_the_driver() -> None:
    """It plans what is longer than this anew at each run."""
    assert len(joined(ALL)) < 15 * 1024


async def test_what_waits_for_something_due_is_locked_before_anything_is_read(
    storage: PostgresStorage, postgres_url: str
) -> None:
    """Reading it again once it is locked would cost a sweep as much as reading it."""
    query(postgres_url, FILL)
    query(postgres_url, "UPDATE promises SET armed_at_ms = 5 WHERE id = 'c'")
    texts: list[str] = []
    storage.on_statement = texts.append

    async with storage.transaction() as transaction:
        loaded = await transaction.load(Plan(due_max=10), now_ms=9)

    found = [loaded.working_set.promise(promise_id) for promise_id in ("a", "b", "c")]
    assert None not in found
    assert texts.count(TEXTS.records) == 1
    assert TEXTS.lock_awaiters in texts


async def test_nobody_is_looked_for_who_waits_for_nothing_due(
    storage: PostgresStorage, postgres_url: str
) -> None:
    query(postgres_url, FILL)
    query(postgres_url, "UPDATE promises SET armed_at_ms = 5 WHERE id = 'a'")
    texts: list[str] = []
    storage.on_statement = texts.append

    async with storage.transaction() as transaction:
        loaded = await transaction.load(Plan(due_max=10), now_ms=9)

    assert loaded.working_set.promise("a") is not None
    assert TEXTS.lock_awaiters not in texts
