"""What is left in PostgreSQL after a process died: the same questions as of files."""

import asyncio
from typing import Any, cast

import psycopg

from holdfast.core.checks.snapshot import State
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.storage import Plan
from tests.integration.kill.evidence import Books, Remains, StoreFile
from tests.integration.kill.processes import until
from tests.integration.postgres import Server, query

OF_STORES = (
    "SELECT 1 FROM pg_stat_activity"
    " WHERE application_name = 'holdfast-store' AND datname = current_database()"
)


class StoreOnServer(StoreFile):
    """The store's database, looked at from beside while the store runs, or after it died."""

    def __init__(self, url: str) -> None:
        self.url = url

    def task(self, task_id: str) -> tuple[str, int, str | None, int | None] | None:
        """State, version, pid and end of the lease of a task."""
        found = ask(
            self.url,
            "SELECT state, version, pid, lease_at_ms FROM tasks WHERE id = %(id)s",
            id=task_id,
        )
        return cast("tuple[str, int, str | None, int | None] | None", found[0] if found else None)

    def _tree(self, select: str, origin: str) -> list[tuple[Any, ...]]:
        where = "WHERE id = %(origin)s OR starts_with(id, %(origin)s || '.')"
        return ask(self.url, f"{select} {where} ORDER BY id", origin=origin)

    def after_death(self) -> Remains:
        """Judge what a killed store has left, when the server has ended what it was doing."""
        until(lambda: not query(self.url, OF_STORES), "the server noticed that the store is dead")
        return Remains(asyncio.run(_load(self.url)))


class BooksOnServer(Books):
    """The application database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _rows(self, statement: str, key: str) -> list[Any]:
        return ask(self.url, statement.replace("?", "%(key)s"), key=key)


def ask(url: str, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
    """Run a statement with parameters."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode(), parameters).fetchall()


def make_databases(server: Server) -> tuple[StoreOnServer, BooksOnServer]:
    """Make a database for a store and an empty one for the application."""
    store = StoreOnServer(server.create_database())
    return store, BooksOnServer(server.create_database(template="template1"))


async def _load(url: str) -> State:
    ids = [str(promise_id) for (promise_id,) in query(url, "SELECT id FROM promises")]
    storage = PostgresStorage(url, tells_time=False)
    await storage.open()
    try:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(Plan(ids=set(ids)), now_ms=0)
        rows = loaded.working_set
        return State.of(
            promises=rows.promises(),
            tasks=rows.tasks(),
            callbacks=[c for i in ids for c in rows.callbacks(i)],
            listeners=[(i, address) for i in ids for address in rows.listeners(i)],
        )
    finally:
        await storage.close()
