"""Fill an empty SQLite file, in one transaction that stands or falls as a whole."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast_store.archives.port import Listener, NotEmpty, Record, RecordRefused
from holdfast_store.db import archive_rows as archived
from holdfast_store.db import revisions, rows
from holdfast_store.db.archive_statements import ArchiveStatements
from holdfast_store.db.schedule_rows import schedule_inserted
from holdfast_store.db.session import Session
from holdfast_store.db.sqlite import errors as sqlite_errors
from holdfast_store.db.sqlite.connections import prepare_for_writing
from holdfast_store.db.sqlite.thread import SqliteThread
from holdfast_store.db.statements import Statements

_Insert = tuple[str, list[rows.Row]]


class SqliteRestoration:
    """The transaction; nothing is visible to others before it is committed."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        thread: SqliteThread,
        of_batches: Statements,
        statements: ArchiveStatements,
    ) -> None:
        self._connection = connection
        self._thread = thread
        self._of_batches = of_batches
        self._statements = statements
        self._session = Session(connection, of_batches, lambda _text: None)
        self._revision = ""

    @property
    def revision(self) -> str:
        """Name the newest migration that ran."""
        return self._revision

    async def begin(self) -> None:
        """Take the write lock; raise unless the schema fits and every table is empty."""
        await self._thread.run(self._begin)

    def _begin(self) -> None:
        prepare_for_writing(self._connection)
        self._connection.execute("BEGIN IMMEDIATE")
        history = self._session.history()
        revisions.check_current(history)
        self._revision = history.newest or ""
        if self._session.fetch(self._statements.any_row):
            raise NotEmpty("the database is not empty: name a new one, which will be created")

    async def add(self, records: Sequence[Record]) -> None:
        """Write records together; when one is refused, find out which."""
        await self._thread.run(partial(self._add, records))

    def _add(self, records: Sequence[Record]) -> None:
        self._connection.execute("SAVEPOINT chunk")
        try:
            for _, alike in groupby(records, key=type):
                self._write(list(alike))
        except sqlite_errors.FAILURES as error:
            self._connection.execute("ROLLBACK TO chunk")
            self._find_refused(records)
            raise sqlite_errors.meaning_of(error) from error
        self._connection.execute("RELEASE chunk")

    def _find_refused(self, records: Sequence[Record]) -> None:
        for index, record in enumerate(records):
            try:
                self._write([record])
            except (sqlite3.IntegrityError, *sqlite_errors.DATA_ERRORS) as error:
                raise RecordRefused(index, _reason(error)) from error

    def _write(self, alike: Sequence[Record]) -> None:
        for text, values in self._inserts(alike):
            self._session.run_each(text, values)

    def _inserts(self, alike: Sequence[Record]) -> list[_Insert]:
        statements = self._statements
        match alike[0]:
            case Promise():
                return [(self._of_batches.promise_insert, _each(rows.promise_inserted, alike))]
            case Task():
                woken = [(t.id, i) for t in alike if isinstance(t, Task) for i in sorted(t.resumes)]
                ids = rows.json_text([t.id for t in alike if isinstance(t, Task)])
                tags = self._session.fetch(statements.find_tags, (ids,))
                return [
                    (self._of_batches.task_insert, archived.tasks_inserted(alike, tags)),
                    (self._of_batches.resume_insert, woken),
                ]
            case Callback():
                return [(statements.callback_insert, _each(archived.callback_inserted, alike))]
            case Listener():
                return [(statements.listener_insert, _each(archived.listener_inserted, alike))]
            case Unblock():
                return [(statements.unblock_insert, _each(archived.unblock_inserted, alike))]
            case Schedule():
                return [(statements.schedule_insert, _each(schedule_inserted, alike))]

    async def commit(self) -> None:
        """Make everything stand, and move it from the log into the file."""
        await self._thread.run(partial(self._connection.execute, "COMMIT"))

    def leave(self) -> None:
        """Undo what was not committed, and leave nothing but the file itself; blocks."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _each(write: Callable[..., rows.Row], records: Sequence[Record]) -> list[rows.Row]:
    return [write(record) for record in records]


def _reason(error: Exception) -> str:
    """Say what keeps a record out, in words that do not name the database."""
    code = sqlite_errors.extended_code(error)
    if code in sqlite_errors.DUPLICATE_KEYS:
        return "the same record is there already"
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return "it names a promise or a task that is not there"
    return f"the database refuses it: {error}"
