"""The writing connection of a SQLite file, and what its failures mean."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from holdfast.core.ids import end_of
from holdfast.core.records import Preload, Promise
from holdfast.core.working_set import Changes
from holdfast_store.db import revisions, rows
from holdfast_store.db.session import Session
from holdfast_store.db.sqlite import errors as sqlite_errors
from holdfast_store.db.sqlite.connections import prepare_for_writing
from holdfast_store.db.sqlite.newest import Newest
from holdfast_store.db.statements import Statements
from holdfast_store.preloads import first_within
from holdfast_store.storage import (
    CommitOutcomeUnknown,
    InsertConflict,
    Loaded,
    Plan,
    StorageError,
)

R = TypeVar("R")


class Writer:
    """The writing connection; every method runs on the writer's thread.

    Invariant: when a method has raised, no transaction is open.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        statements: Statements,
        report: Callable[[str], None],
    ) -> None:
        self._connect = connect
        self._statements = statements
        self._report = report
        self._connection: sqlite3.Connection | None = None
        self._session: Session | None = None
        self._loaded: Loaded | None = None
        self._newest = Newest(statements)

    def open(self) -> int:
        """Connect and check the schema; answer an instant that nothing in the file lies behind."""
        try:
            with self._undone_on_failure():
                session = self._current()
                revisions.check_current(session.history())
                self._newest.read(session)
        except StorageError:
            self._disconnect()
            raise
        return self._newest.bound_ms

    def close(self) -> None:
        """Move the write-ahead log into the file and disconnect."""
        if self._connection is None or self._session is None:
            return
        with contextlib.suppress(sqlite3.Error):  # the next process may as well begin ahead
            self._newest.end(self._session)
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            # Nothing is lost: whoever opens the file next reads the log.
            raise sqlite_errors.meaning_of(error) from error
        finally:
            self._disconnect()

    def load(self, plan: Plan, now_ms: int) -> Loaded:
        """Begin, unless a transaction is open, and read."""
        with self._undone_on_failure():
            loaded = self._begun().load(plan, now_ms=now_ms)
        self._loaded = None if plan.told else loaded
        return loaded

    def commit(
        self, changes: Changes, preload_of: Sequence[str], preload_bytes_max: int
    ) -> dict[str, Preload]:
        """Save, read preloads, commit."""
        with self._undone_on_failure():
            session = self._begun()
            _insert(session, changes)
            session.save(changes)
            preloads = session.preload(preload_of, bytes_max=preload_bytes_max)
            bound_ms = self._newest.bound_ms
            if self._loaded is not None:
                bound_ms = self._newest.raised(session, self._loaded, changed=bool(changes))
        self._end(session)
        self._newest.bound_ms = bound_ms
        return preloads

    def roll_back(self) -> None:
        """Undo what was not committed."""
        self._recover(None)

    def take_unblocks(
        self, addresses: Sequence[str], limit: int, bytes_max: int, *, prefix: str
    ) -> list[tuple[str, Promise]]:
        """Delete messages and answer their addresses and promises."""

        def take(session: Session) -> list[tuple[str, Promise]]:
            while found := session.fetch(
                self._statements.unblocks_find,
                (rows.json_text(addresses), prefix, end_of(prefix), limit),
            ):
                taken = found[: first_within([row[2] or 0 for row in found], bytes_max)]
                keys = [(address, promise_id) for address, promise_id, _ in taken]
                session.run_each(self._statements.unblock_delete, keys)
                ids = list(dict.fromkeys(promise_id for _, promise_id in keys))
                promises = {p.id: p for p in session.promises_in_order(ids)}
                if promises:
                    return [(a, promises[key]) for a, key in keys if key in promises]
            return []

        return self.whole(take)

    def drop_unblocks(self, before_ms: int) -> int:
        """Delete messages that were enqueued before an instant."""
        return self.whole(lambda s: s.run(self._statements.unblocks_drop, (before_ms,)))

    def whole(self, work: Callable[[Session], R]) -> R:
        """Do some work as a transaction of its own."""
        with self._undone_on_failure():
            session = self._begun()
            result = work(session)
        self._end(session)
        return result

    # The transaction's ends

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """Keep the invariant of this class, and raise what a failure means."""
        try:
            yield
        except sqlite_errors.FAILURES as error:
            self._recover(error)
            raise sqlite_errors.meaning_of(error) from error
        except BaseException:
            self._recover(None)
            raise

    def _begun(self) -> Session:
        """Answer the session, in a transaction that holds the write lock."""
        session = self._current()
        assert self._connection is not None
        if not self._connection.in_transaction:
            session.run("BEGIN IMMEDIATE")
        return session

    def _end(self, session: Session) -> None:
        try:
            session.run("COMMIT")
        except sqlite3.Error as error:
            meaning = self._meaning_of_failed_commit(error)
            self._recover(error)
            raise meaning from error

    def _meaning_of_failed_commit(self, error: sqlite3.Error) -> StorageError:
        """Nothing was written if SQLite still holds the transaction, or undid it by itself.

        After a failed write or flush nobody can tell: the log may hold the whole transaction,
        and whoever reads it after a crash may find it there.
        """
        assert self._connection is not None
        undone = self._connection.in_transaction or sqlite_errors.is_undone_by_sqlite(error)
        if undone and not sqlite_errors.is_of_device(error):
            return sqlite_errors.meaning_of(error)
        return CommitOutcomeUnknown(f"the commit failed: {error}")

    def _recover(self, error: BaseException | None) -> None:
        """Make the connection usable again, or drop it, so that the next call opens another."""
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:
                self._report("ROLLBACK")
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()  # closing undoes what is open, too
            return
        if error is not None and sqlite_errors.is_of_connection(error):
            self._disconnect()

    def _current(self) -> Session:
        if self._session is None:
            connection = self._connect()
            try:
                prepare_for_writing(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._session = Session(connection, self._statements, self._report)
        return self._session

    def _disconnect(self) -> None:
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.close()


def _insert(session: Session, changes: Changes) -> None:
    try:
        session.insert(changes)
    except sqlite3.IntegrityError as error:
        if sqlite_errors.extended_code(error) in sqlite_errors.DUPLICATE_KEYS:
            raise InsertConflict(f"a row exists already: {error}") from error
        raise
