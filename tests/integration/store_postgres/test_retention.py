"""Retention beside transactions that hold what it would delete: it leaves that to a later pass."""

import psycopg

from holdfast_store.db.postgres.storage import PostgresStorage
from tests.integration.postgres import query
from tests.integration.store_db.records import save
from tests.integration.store_db.test_retention import left, run, tree

LOCK = "SELECT id FROM promises WHERE id = %s FOR UPDATE"


async def test_what_somebody_has_locked_is_left_and_nobody_is_waited_for(
    storage: PostgresStorage, postgres_url: str
) -> None:
    trees = [*tree("a", 2), *tree("b", 2), *tree("c", 0), *tree("d", 9)]
    await save(storage, promises_created=trees)
    ids = [p.id for p in trees]

    with psycopg.connect(postgres_url) as other:
        for held in ("a.001", "c", "d"):
            other.execute(LOCK, (held,))
        await run(storage)
        with_locks = await left_without_locking(postgres_url)
    await run(storage)

    assert with_locks == {"a", "a.001", "c", "d"}
    assert await left(storage, *ids) == set()


async def left_without_locking(url: str) -> set[str]:
    return {str(promise_id) for (promise_id,) in query(url, "SELECT id FROM promises")}


async def test_what_is_named_meanwhile_is_not_deleted(
    storage: PostgresStorage, postgres_url: str
) -> None:
    """Each part is judged again when it is deleted, whatever the look at the tree has found."""
    await save(storage, promises_created=tree("a", 5))

    pruned = await storage.prune(["a"], before_ms=9_000, behind="", limit=3)
    query(postgres_url, "INSERT INTO outbox VALUES ('http://l', 'a.004', 1)")
    again = await storage.prune(["a"], before_ms=9_000, behind="", limit=9)

    assert (pruned.promises, again.promises) == (3, 1)
    assert await left_without_locking(postgres_url) == {"a", "a.004"}
