"""Fill an empty PostgreSQL database, in one transaction that stands or falls as a whole."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

import asyncpg

from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast_store.archives.port import Listener, NotEmpty, Record, RecordRefused
from holdfast_store.db import archive_rows as archived
from holdfast_store.db import revisions
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres import schema as postgres_schema
from holdfast_store.db.postgres import statements as postgres_statements
from holdfast_store.db.postgres.saving import Part
from holdfast_store.db.postgres.snapshot import meant
from holdfast_store.db.rows import Row, promise_inserted
from holdfast_store.db.schedule_rows import schedule_inserted
from holdfast_store.db.statements import Statements
from holdfast_store.db.tables import metadata, schema_floors, schema_revisions
from holdfast_store.storage import CommitOutcomeUnknown

OF_SCHEMA: Final = (schema_revisions, schema_floors)
"""Tables that tell what the others look like, and that no record is in."""

NO_REVISION: Final = (None,)
"""Of what is read into a database: no store knows it yet."""


class PostgresRestoration:
    """The transaction; nothing is visible to others before it is committed.

    It holds locks that let nobody else write, so that no store begins to work on half a database.
    """

    def __init__(self, connection: asyncpg.Connection, statements: ArchiveStatements) -> None:
        self._connection = connection
        self._statements = statements
        self._locking = postgres_statements.build(Postgres())
        self._revision = ""

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""
        return self._revision

    async def begin(self, of_batches: Statements) -> None:
        """Lock the tables; raise unless the schema fits and every one is empty."""
        with meant():
            await self._connection.execute("BEGIN")
            history = await postgres_schema.history(self._connection, of_batches)
        revisions.check_current(history)
        self._revision = history.newest or ""
        names = [t.name for t in metadata.sorted_tables if t not in OF_SCHEMA]
        with meant():
            await self._connection.execute(f"LOCK TABLE {', '.join(names)} IN EXCLUSIVE MODE")
            taken = await self._connection.fetch(self._statements.any_row)
        if taken:
            raise NotEmpty("the database is not empty: name a new one, and migrate it")

    async def add(self, records: Sequence[Record]) -> None:
        """Write records together; when one is refused, find out which."""
        with meant():
            await self._connection.execute("SAVEPOINT chunk")
        try:
            for _, alike in groupby(records, key=type):
                await self._write(list(alike))
        except postgres_errors.FAILURES as error:
            with meant():
                await self._connection.execute("ROLLBACK TO SAVEPOINT chunk")
            await self._find_refused(records)
            raise postgres_errors.meaning_of(error) from error
        with meant():
            await self._connection.execute("RELEASE SAVEPOINT chunk")

    async def _find_refused(self, records: Sequence[Record]) -> None:
        for index, record in enumerate(records):
            try:
                await self._write([record])
            except postgres_errors.FAILURES as error:
                if postgres_errors.is_of_connection(error):
                    raise postgres_errors.meaning_of(error) from error
                raise RecordRefused(index, _reason(error)) from error

    async def _write(self, alike: Sequence[Record]) -> None:
        ids = [record.id for record in alike if isinstance(record, Task)]
        tags = await self._connection.fetch(self._statements.find_tags, ids) if ids else []
        for part in self._inserts(alike, tags):
            if part.rows:
                await self._connection.fetch(part.text, *part.parameters)

    def _inserts(self, alike: Sequence[Record], tags: Sequence[Sequence[str]]) -> list[Part]:
        locking = self._locking
        match alike[0]:
            case Promise():
                return [Part(locking.promise_insert, _each(promise_inserted, alike), NO_REVISION)]
            case Task():
                woken = [(t.id, i) for t in alike if isinstance(t, Task) for i in sorted(t.resumes)]
                return [
                    Part(locking.task_insert, archived.tasks_inserted(alike, tags)),
                    Part(locking.resume_insert, woken),
                ]
            case Callback():
                return [Part(locking.callback_insert, _each(archived.callback_inserted, alike))]
            case Listener():
                return [Part(locking.listener_insert, _each(archived.listener_inserted, alike))]
            case Unblock():
                return [Part(locking.unblock_insert, _each(archived.unblock_inserted, alike))]
            case Schedule():
                return [Part(locking.schedule_insert, _each(schedule_inserted, alike))]

    async def commit(self) -> None:
        """Make everything stand; raise `CommitOutcomeUnknown` when nobody can tell whether it does.

        Whoever imported looks: the database is filled as a whole or as empty as before.
        """
        try:
            await self._connection.execute("COMMIT")
        except postgres_errors.FAILURES as error:
            if postgres_errors.tells_that_nothing_was_committed(error):
                raise postgres_errors.meaning_of(error) from error
            raise CommitOutcomeUnknown(f"the connection broke at the end: {error}") from error


def _each(write: Callable[..., Row], records: Sequence[Record]) -> list[Row]:
    return [write(record) for record in records]


def _reason(error: BaseException) -> str:
    """Say what keeps a record out, in words that do not name the database."""
    match postgres_errors.state_of(error):
        case "23505":
            return "the same record is there already"
        case "23503":
            return "it names a promise or a task that is not there"
        case _:
            return f"the database refuses it: {error}"
